"""The mail object (RFC 5321 section 2.3.1): envelope and content on their way through a pipeline.

A source yields `RawMail` (octets), the engine parses it into a `Mail` (message), stages hand each other new `Mail`
objects, a sink takes the last one.

    def process(self, mail: Mail) -> Mail:
        return mail.with_message(mail.message.with_header(mail.message.header.with_field("X-Seen", "yes")))

Never here: what becomes of a mail; see `verdict` and `outcome`.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Protocol, TypeVar

from mailpipe.message import Message
from mailpipe.smtp.envelope import Envelope

if TYPE_CHECKING:  # slow to import
    from mailpipe.auth.signatures import Signature

N = TypeVar("N")


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a mail came from.

    Attributes:
        source: the name of the source component ("mbox", "maildir", "eml", "stdio", …).
        location: the archive or file, as the user gave it; "-" for standard input.
        offset: octets from the beginning of the archive to the first octet of the message.
        size: octets of the message in its archive, quoting and all.
        ident: what tells the mail from others in the same location where the offset does not (a Maildir unique
            name, the number of a message made by a stage).
        root: the key of the mail that a stage made this one of, and that of its maker's, to the first; "" for one that
            a source gave.
        branch: of a copy, the routes that its makers took, "/archive"; "" for one that is no copy.
    """

    source: str
    location: str
    offset: int = 0
    size: int = 0
    ident: str = ""
    root: str = field(default="", compare=False, repr=False)
    branch: str = field(default="", compare=False, repr=False)

    @property
    def key(self) -> str:
        """The same for the same mail in every run: what the journal remembers it by."""
        return f"{self.source}:{self.location}:{self.ident or self.offset}"

    def child(self, number: int) -> "Origin":
        """The origin of the mail `number` (from 1) that a stage made of this one."""
        return replace(self, ident=f"{self.ident or self.offset}/{number}", root=self.root or self.key)

    def copy(self, route: str) -> "Origin":
        """The origin of the copy that takes a route."""
        ident, root = f"{self.ident or self.offset}/{route}", self.root or self.key
        return replace(self, ident=ident, root=root, branch=f"{self.branch}/{route}")

    def __str__(self) -> str:
        return f"{self.location}:{self.ident or self.offset}"


class Octets(Protocol):
    """What a source may hand over as content: bytes, or a slice that is cut when asked for."""

    def __bytes__(self) -> bytes: ...


@dataclass(frozen=True, slots=True)
class RawMail:
    """A mail before it is parsed.

    Attributes:
        octets: the message.
        origin: where it came from.
        envelope: as given by an SMTP client or a command line; None for archives, where the pipeline's
            envelope rule makes one from the header.
        from_line: the From_ line that stood before the message in an mbox (RFC 4155), without its line end; b""
            where there was none. `mailpipe.archive.from_line.parse` reads the sender from it.
    """

    octets: bytes
    origin: Origin
    envelope: Envelope | None = None
    from_line: bytes = b""


@dataclass(frozen=True, slots=True)
class Mail:
    """A mail as stages and sinks see it. Frozen: `with_…` gives a changed copy.

    Attributes:
        message: the content.
        envelope: who sends and who receives.
        origin: where it came from.
        notes: typed values that stages leave for later stages and for the outcome, in order.
    """

    message: Message
    envelope: Envelope
    origin: Origin
    notes: tuple[object, ...] = ()

    def with_message(self, message: Message) -> "Mail":
        """The same mail with other content."""
        return replace(self, message=message)

    def with_envelope(self, envelope: Envelope) -> "Mail":
        """The same mail, redirected."""
        return replace(self, envelope=envelope)

    def with_note(self, *notes: object) -> "Mail":
        """The same mail with more notes."""
        return replace(self, notes=self.notes + notes)

    @property
    def signatures(self) -> "tuple[Signature, ...]":
        """The signatures of the message, and what each covers; looked for at each question.

        if any(each.covers(("Subject",)) for each in mail.signatures): …
        """
        from mailpipe.auth.signatures import signatures_of  # slow to import, and few stages ask

        return signatures_of(self.message)

    def notes_of(self, kind: type[N]) -> Iterator[N]:
        """The notes of one type, oldest first."""
        return (note for note in self.notes if isinstance(note, kind))


@dataclass(frozen=True, slots=True)
class DefectsFound:
    """A note: how often each defect was found.

    Attributes:
        counts: defect code → occurrences.
    """

    counts: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class AttachmentSaved:
    """A note: a part's content was written to a file.

    Attributes:
        part: the part's path, "1.2".
        filename: the name that the message gave, None where it gave none.
        path: the file that was written.
        content_type: "application/pdf".
        size: octets of the decoded content.
        sha256: its digest in hexadecimal.
    """

    part: str
    filename: str | None
    path: str
    content_type: str
    size: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Changed:
    """A note: a stage changed something.

    Attributes:
        stage: the stage's name.
        what: one line for a person: "Date repaired", "part 1.2 re-encoded base64 → quoted-printable".
    """

    stage: str
    what: str


@dataclass(frozen=True, slots=True)
class Skipped:
    """A note: a stage failed, and the mail went on as it was before it.

    Attributes:
        stage: the stage's name.
        why: its words.
    """

    stage: str
    why: str
