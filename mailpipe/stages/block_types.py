"""The stage `block-types`: what may come in, by declared type, by name, and by what the octets are.

    [[stage]]
    use = "block-types"
    deny_content = ["executable", "script", "shortcut", "macro", "encrypted"]
    deny_types = ["application/x-msdownload"]
    then = "quarantine"             # reject | quarantine | strip | tag

Every part is looked at, those of enclosed messages and uuencoded files too, and what is inside zip, tar, gzip, xz,
bzip2 and iso files, down to a depth and within bounds. A name counts without the dots, blanks and invisible characters
behind which a suffix hides. Signed parts are looked at like others, but never stripped.

Words for content: kinds (pdf, docx, zip, pe, …) and groups (executable, script, shortcut, archive, disk-image, office,
document, image, audio, video, text) of `mailpipe.codec.signature`, and: macro, embedded, encrypted, "unreadable" (a
damaged container, or one of a sort that is not looked into), "beyond-limit" (too deep, too many, too large), "unknown".

Never here: signs (`codec.signature`), containers (`codec.container`), virus scanners.
"""

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import AfterValidator
from pydantic import Field as OptionField

from mailpipe.codec import container, signature
from mailpipe.codec.container import Allowance
from mailpipe.message import Entity
from mailpipe.pipeline.access import Access
from mailpipe.pipeline.component import Options, Stage
from mailpipe.pipeline.mail import Changed, Mail
from mailpipe.pipeline.verdict import Decision, Verdict
from mailpipe.stages import attachment_choice as choice
from mailpipe.stages import templates
from mailpipe.stages.templates import FieldName
from mailpipe.stages.text_edit import CONTENT_FIELDS
from mailpipe.units import ByteSize

_SUFFIXES = """ade adp app appx asp bas bat chm cmd com cpl crt dll exe fxp gadget hlp hta inf ins isp jar jnlp js jse
    ksh lnk mad maf mam maq mar mas mat mau mav maw mda mdb mde mdt mdw mdz msc msh msi msix msp mst ocx ops pcd pif plg
    prf prg ps1 ps1xml ps2 psc1 psd1 psm1 reg scf scr sct shb shs sys url vb vbe vbs vhd vhdx vxd ws wsc wsf wsh xll
    xnk"""
_WORDS = frozenset(signature.KINDS) | signature.GROUPS | {"unreadable", "beyond-limit"}
# What hides a suffix from a person or from a filter: "a.exe.", "a.exe ", "a.exe::$DATA".
_TAIL = re.compile(r"(?:::?\$data)?[. ]*\Z", re.IGNORECASE)
_FACTS = ("filename", "content_type", "size", "sha256")


def _known(words: tuple[str, ...]) -> tuple[str, ...]:
    for word in words:
        if word not in _WORDS:
            raise ValueError(f"{word!r} is no word for content; there are {', '.join(sorted(_WORDS))}")
    return words


def _plain_suffixes(suffixes: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(suffix.strip().lstrip(".").lower() for suffix in suffixes)


@dataclass(frozen=True, slots=True)
class BlockedContent:
    """A note: something that is not allowed.

    Attributes:
        part: the part's path.
        name: of the part, and of what is inside it, "a.zip/b.exe"; "" where there is none.
        why: one line for a person: "the content is an executable (pe)".
    """

    part: str
    name: str
    why: str

    def __str__(self) -> str:
        return f"part {self.part}{f' ({self.name})' if self.name else ''}: {self.why}"


class BlockTypesOptions(Options):
    """What is not allowed, and what happens to it."""

    deny_content: Annotated[tuple[str, ...], AfterValidator(_known)] = ("executable", "script", "shortcut")
    """Content that is not allowed, whatever it is called: kinds and groups, also inside archives."""
    allow_content: Annotated[tuple[str, ...], AfterValidator(_known)] = ()
    """Where this is given, attachments of any other content are not allowed; archives are allowed as far as what they
    hold is."""
    deny_types: tuple[str, ...] = ()
    """Declared media types that are not allowed, with wildcards: ["application/x-msdownload"]."""
    allow_types: tuple[str, ...] = ()
    """Where this is given, parts of any other declared type are not allowed; multiparts are not asked."""
    deny_suffixes: Annotated[tuple[str, ...], AfterValidator(_plain_suffixes)] = tuple(_SUFFIXES.split())
    """Ends of file names that are not allowed, also inside archives; by default those of programs and scripts."""
    inner_suffixes: bool = False
    """Look at every suffix of a name, so that "invoice.exe.txt" is not allowed either."""
    deny_names: tuple[str, ...] = ()
    """File names that are not allowed, with wildcards."""
    depth: int = OptionField(default=3, ge=0, le=20)
    """How many archives inside one another are looked into."""
    unpacked_size: ByteSize = ByteSize(100_000_000)
    """Octets that are unpacked of one message."""
    members: int = OptionField(default=10_000, ge=1)
    """Members of archives that are looked at in one message."""
    then: Literal["reject", "quarantine", "strip", "tag"] = "reject"
    """Refuse the message, keep it aside, take the parts out, or note it in a field."""
    tag_field: FieldName = "X-Blocked-Content"
    """The field that a tag is written to; one that comes with the message is removed."""
    note: Annotated[str, AfterValidator(lambda note: choice.checked_note(note, _FACTS))] = (
        "The attachment {filename} ({content_type}, {size} octets) was removed: it is of a type that is not allowed.\n"
        "SHA-256: {sha256}\n"
    )
    """The text in the place of a part that was taken out; may name filename, content_type, size and sha256."""


class BlockTypes(Stage[BlockTypesOptions]):
    """Decides about attachments by declared type, by name and by content, inside archives too."""

    name = "block-types"
    Options = BlockTypesOptions
    reads = Access(fields=("*",), body=True)
    touches = Access(fields=("*",), body=True, notes=(BlockedContent, Changed,))

    @classmethod
    def accesses(cls, options: BlockTypesOptions) -> tuple[Access, Access]:
        """It reads parts; it touches them, or its own field, as it is told to."""
        reads = Access(fields=CONTENT_FIELDS, body=True)
        if options.then == "strip":
            return reads, Access(fields=CONTENT_FIELDS, body=True, notes=(BlockedContent, Changed))
        if options.then == "tag":
            own = Access(fields=(options.tag_field,))
            return reads | own, own | Access(notes=(BlockedContent, Changed))
        return reads, Access(notes=(BlockedContent,))

    @classmethod
    def decisions(cls, options: BlockTypesOptions) -> tuple[Decision, ...]:
        """What it was told to decide."""
        return {"reject": (Decision.REJECT,), "quarantine": (Decision.QUARANTINE,)}.get(options.then, ())

    def process(self, mail: Mail) -> Mail | Verdict:
        """Look at every part."""
        options, message = self.options, mail.message
        allowance = Allowance(options.unpacked_size, options.members)
        found: list[BlockedContent] = []
        records = {}
        for path, entity in message.walk():
            if entity.is_multipart or entity.parts:
                continue
            octets = entity.octets
            here = list(self._wrong(path or "1", entity, octets, allowance))
            if here:
                found += here
                records[path] = choice.record_of(path, entity, octets)
        if options.then == "tag":
            return self._tagged(mail, found)
        if not found:
            return mail
        reason = str(found[0]) + (f", and {len(found) - 1} more" if len(found) > 1 else "")
        if options.then == "reject":
            return Verdict.reject(reason, status="5.7.1", notes=tuple(found))
        if options.then == "quarantine":
            return Verdict.quarantine(reason, notes=tuple(found))
        changed, changes = choice.without(message, records, "note", options.note, self.name)
        return mail.with_message(changed).with_note(*found, *changes)

    def _tagged(self, mail: Mail, found: list[BlockedContent]) -> Mail:
        name, header = self.options.tag_field, mail.message.header
        if not found and name not in header:
            return mail
        header = header.without(name)
        if found:
            words = "; ".join(dict.fromkeys(str(one) for one in found[:20]))
            header = header.with_fields([*header.lines, templates.composed(name, words, header.line_end)])
        what = f"{name} {'set' if found else 'removed'}"
        return mail.with_message(mail.message.with_header(header)).with_note(*found, Changed(self.name, what))

    def _wrong(self, path: str, entity: Entity, octets: bytes, allowance: Allowance) -> Iterator[BlockedContent]:
        """What is not allowed about a leaf and what is in it; of each reason the first."""
        kind, name = entity.content_type, entity.filename or ""
        allowed = self.options.allow_types
        if choice.matches(kind.value, self.options.deny_types) or (allowed and not choice.matches(kind.value, allowed)):
            yield BlockedContent(path, _shown(name), f"the type {kind.value} is not allowed")
        # the body that a reader sees is text to him, whatever its first line looks like
        is_body = kind.type == "text" and not entity.is_attachment
        if not is_body or signature.identify(octets).groups & {"executable", "archive"}:
            yield from self._inside(path, name, octets, allowance)
        for file in entity.embedded_files:
            yield from self._inside(path, file.filename, file.octets, allowance)

    def _inside(
        self, path: str, name: str, octets: bytes, allowance: Allowance, depth: int = 0
    ) -> Iterator[BlockedContent]:
        """What is not allowed about a file and the files in it; depth first, `depth` bounds it."""
        options, shown = self.options, _shown(name)
        if why := self._wrong_name(name):
            yield BlockedContent(path, shown, why)
        content = signature.identify(octets)
        denied = content.words & set(options.deny_content)
        if denied:
            words = "" if denied == {content.kind} else f" ({content.kind})"
            yield BlockedContent(path, shown, f"the content is {_listed(denied)}{words}")
        kinds = sorted(content.words & container.READ)
        if options.allow_content and not content.words & set(options.allow_content) and not kinds:
            yield BlockedContent(path, shown, f"the content is {content.kind}, which is not allowed")
        if "archive" in content.groups and not kinds:
            yield from self._if_denied("unreadable", path, shown, f"a {content.kind} file cannot be looked into")
        if "office" in content.groups:  # its members are its own affair; macros and objects were seen
            return
        for kind in kinds:
            if depth >= options.depth:
                yield from self._if_denied("beyond-limit", path, shown, f"archives lie deeper than {options.depth}")
                return
            for member in container.members(octets, kind, allowance):
                inner = f"{name}/{member.name}" if member.name else name
                if member.is_unreadable:
                    yield from self._if_denied("unreadable", path, _shown(inner), "the archive is damaged")
                elif member.octets is not None:
                    yield from self._inside(path, inner, member.octets, allowance, depth + 1)
                elif why := self._wrong_name(member.name):
                    yield BlockedContent(path, _shown(inner), why)
            if allowance.is_over:
                yield from self._if_denied("beyond-limit", path, shown, "too much is in archives to be looked at")
                return

    def _if_denied(self, word: str, path: str, name: str, why: str) -> Iterator[BlockedContent]:
        if word in self.options.deny_content:
            yield BlockedContent(path, name, why)

    def _wrong_name(self, name: str) -> str:
        """Why a name is not allowed; "" where it is."""
        if not name or name.endswith("/"):  # a folder of a zip
            return ""
        bare = _bare(name)
        suffixes = bare.split(".")[1:]
        for suffix in suffixes if self.options.inner_suffixes else suffixes[-1:]:
            if suffix.strip() in self.options.deny_suffixes:
                return f"names that end with .{suffix.strip()} are not allowed"
        if self.options.deny_names and choice.matches(bare, self.options.deny_names):
            return "its name is not allowed"
        return ""


def _bare(name: str) -> str:
    """The last piece of a path as Windows would take it: compatible forms, no invisible characters, no tail."""
    name = unicodedata.normalize("NFKC", name[-1000:])
    name = "".join(one for one in name if unicodedata.category(one) not in ("Cf", "Cc", "Cn", "Cs"))
    return _TAIL.sub("", name.replace("\\", "/").rstrip("/").rpartition("/")[2]).lower()


def _shown(name: str) -> str:
    """A name for a reply and a log: one line, not too long."""
    name = "".join(one if one.isprintable() else "?" for one in name)
    return name if len(name) <= 120 else f"…{name[-119:]}"


def _listed(words: frozenset[str]) -> str:
    names = {"executable": "an executable", "script": "a script", "shortcut": "a shortcut", "archive": "an archive"}
    return " and ".join(names.get(word, word) for word in sorted(words))
