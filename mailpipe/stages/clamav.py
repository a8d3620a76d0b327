"""The stage `clamav`: asks a ClamAV daemon whether a message holds a virus.

    [[stage]]
    use = "clamav"
    address = "/run/clamav/clamd.ctl"    # or "127.0.0.1:3310"
    on_virus = "reject"                  # reject | quarantine | drop | tag | strip
    parts = true                         # each part by itself as well

The message goes to clamd as it is (INSTREAM), so that clamd needs no access to files of ours. With `parts` the decoded
content of each part is scanned too, which finds what a damaged structure hides from clamd; `strip` does so only where
something was found. When clamd cannot be asked, the stage fails, and its `on_error` says what becomes of the mail:
deferred by default, never passed on unseen.

Never here: the protocol; see `clamav_session`.
"""

from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from mailpipe.message import Entity, compose
from mailpipe.net.endpoint import Endpoint
from mailpipe.pipeline.access import NOTHING, Access
from mailpipe.pipeline.component import Options, Stage
from mailpipe.pipeline.mail import Changed, Mail
from mailpipe.pipeline.services import Services
from mailpipe.pipeline.verdict import Decision, Verdict
from mailpipe.stages.clamav_session import ClamdSession, TooLarge
from mailpipe.stages.file_names import safe_name
from mailpipe.units import ByteSize, Duration

PORT = 3310
"""The TCP port that clamd.conf has in its example."""


@dataclass(frozen=True, slots=True)
class VirusFound:
    """Something that clamd knows.

    Attributes:
        signature: its name, "Win.Test.EICAR_HDB-1".
        part: path of the part, "" for the message as a whole.
    """

    signature: str
    part: str = ""


@dataclass(frozen=True, slots=True)
class VirusScan:
    """A note: the mail was looked at by clamd.

    Attributes:
        found: what there is in it, none of it twice.
        is_complete: whether all of it was looked at; not so for what is too large.
    """

    found: tuple[VirusFound, ...] = ()
    is_complete: bool = True


def _is_endpoint(text: str) -> str:
    Endpoint.parse(text, PORT)
    return text


class ClamavOptions(Options):
    """Where clamd is, and what is done about what it finds."""

    address: Annotated[str, AfterValidator(_is_endpoint)] = "/run/clamav/clamd.ctl"
    """The path of clamd's UNIX socket, or "host:port"; 3310 where no port is named."""
    timeout: Annotated[Duration, Field(gt=0)] = 60.0
    """How long one scan may take, connecting included."""
    on_virus: Literal["reject", "quarantine", "drop", "tag", "strip"] = "reject"
    """What becomes of a mail with a virus: it is refused, set aside, thrown away, marked with a header field, or goes
    on with a text in the place of each part that has one; set aside where no single part has it."""
    field: str = "X-Virus"
    """The header field that `tag` writes; its value names what was found."""
    note: str = "The attachment {filename} was removed: it holds {signature}.\n"
    """The text that `strip` puts in the place of a part; may name filename, content_type and signature."""
    parts: bool = False
    """Whether the decoded content of each part is scanned beside the message."""
    max_size: Annotated[ByteSize, Field(ge=1)] = ByteSize(25_000_000)
    """Larger messages and parts are not sent to clamd; not more than its StreamMaxLength."""
    too_large: Literal["pass", "quarantine", "reject", "fail"] = "pass"
    """What becomes of a mail that is too large for clamd: it goes on, is set aside, is refused, or the stage fails."""

    @property
    def endpoint(self) -> Endpoint:
        """The address, read."""
        return Endpoint.parse(self.address, PORT)


class Clamav(Stage[ClamavOptions]):
    """Has a ClamAV daemon look for viruses, and rejects, sets aside, marks or strips what it finds."""

    name = "clamav"
    Options = ClamavOptions
    reads = Access(fields=("*",), body=True)
    touches = Access(fields=("*",), body=True, notes=(VirusScan, Changed))

    @classmethod
    def accesses(cls, options: ClamavOptions) -> tuple[Access, Access]:
        """It writes its field, or parts, or nothing."""
        touched = {
            "tag": Access(fields=(options.field,), notes=(Changed,)),
            "strip": Access(body=True, notes=(Changed,)),
        }
        return cls.reads, touched.get(options.on_virus, NOTHING) | Access(notes=(VirusScan,))

    @classmethod
    def decisions(cls, options: ClamavOptions) -> tuple[Decision, ...]:
        """What the options name."""
        words = {options.on_virus, options.too_large}
        if options.on_virus == "strip":
            words.add("quarantine")
        return tuple(decision for decision in Decision if decision in words)

    def open(self, services: Services) -> None:
        """Remember where clamd is; it is asked when there is something to ask."""
        self._services = services
        self._session = ClamdSession(self.options.endpoint, self.options.timeout)

    def close(self) -> None:
        """Close the connection."""
        if hasattr(self, "_session"):
            self._session.close()

    def process(self, mail: Mail) -> Mail | Verdict:
        """Scan the message, and its parts where that is wanted."""
        options = self.options
        is_complete = True
        found: list[VirusFound] = []
        name = self._scanned(bytes(mail.message))
        if name is None:
            is_complete = False
        elif name:
            found.append(VirusFound(name))
        if options.parts or (found and options.on_virus == "strip"):
            for path, leaf in _leaves(mail):
                name = self._scanned(leaf.octets)
                if name is None:
                    is_complete = False
                elif name:
                    found.append(VirusFound(name, path or "1"))
        self._services.metrics.count("infected" if found else "clean" if is_complete else "not_scanned")
        scan = VirusScan(tuple(found), is_complete)
        if found:
            return self._infected(mail, scan)
        if not is_complete:
            return self._unseen(mail, scan)
        return mail.with_note(scan)

    def _scanned(self, octets: bytes) -> str | None:
        """What is in there; None where it is too large to say.

        Raises:
            MailpipeError: clamd cannot be asked.
        """
        if len(octets) > self.options.max_size:
            return None
        try:
            return self._session.scan(octets)
        except TooLarge as error:
            self._services.log.warning("%s; set max_size to that", error)
            return None

    def _unseen(self, mail: Mail, scan: VirusScan) -> Mail | Verdict:
        words = f"too large to be scanned for viruses, more than {int(self.options.max_size)} octets"
        match self.options.too_large:
            case "reject":
                return Verdict.reject(f"it is {words}", status="5.3.4", notes=(scan,))
            case "quarantine":
                return Verdict.quarantine(words, notes=(scan,))
            case "fail":
                raise TooLarge(f"the message is {words}")
        return mail.with_note(scan)

    def _infected(self, mail: Mail, scan: VirusScan) -> Mail | Verdict:
        names = ", ".join(dict.fromkeys(one.signature for one in scan.found))
        match self.options.on_virus:
            case "reject":
                return Verdict.reject(f"it holds a virus: {names}", status="5.7.1", notes=(scan,))
            case "drop":
                return Verdict.drop(f"virus {names}", notes=(scan,))
            case "tag":
                header = mail.message.header.with_field(self.options.field, names)
                changed = Changed(self.name, f"{self.options.field} added: {names}")
                return mail.with_message(mail.message.with_header(header)).with_note(scan, changed)
            case "strip" if any(one.part for one in scan.found):
                return self._stripped(mail, scan)
        return Verdict.quarantine(f"virus {names}", notes=(scan,))

    def _stripped(self, mail: Mail, scan: VirusScan) -> Mail:
        signatures = {one.part: one.signature for one in scan.found if one.part}
        changes: list[Changed] = []
        line_end = mail.message.header.line_end

        def change(path: str, leaf: Entity) -> Entity:
            signature = signatures.get(path or "1")
            if signature is None:
                return leaf
            changes.append(Changed(self.name, f"part {path or '1'} replaced by a note: {signature}"))
            kind = leaf.content_type.value
            words = self.options.note.replace("{filename}", safe_name(leaf.filename, kind))
            words = words.replace("{content_type}", kind).replace("{signature}", signature)
            return compose.text(words, line_end=line_end)

        message = mail.message.map_leaves(change)
        return mail.with_message(message).with_note(scan, *changes)


def _leaves(mail: Mail) -> list[tuple[str, Entity]]:
    return [(path, one) for path, one in mail.message.walk() if not one.parts and not one.is_multipart]
