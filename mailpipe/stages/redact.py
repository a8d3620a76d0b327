"""The stage `redact`: what is personal in a message, replaced where it is text.

    [[stage]]
    use = "redact"
    patterns = ["iban", "credit-card", "us-ssn"]
    replacement = "[{pattern}]"                 # or "[{pattern} {digest}]" with key = "redaction-key"
    report = "redacted.jsonl"

    [stage.custom]                              # RE2 syntax; pip install "mailpipe[re2]"
    customer = 'C-[0-9]{8}'

Looked at are the texts of the named header fields, text parts (attached ones too), the text, comments and links of
HTML, and file names, in enclosed messages as well. A digest is the same for the same value under the same key, so that
what belongs together can still be told; nobody without the key can find the value by trying.

What is signed or encrypted is left, and so are PDFs, pictures and the like. A text that cannot be read without loss is
left or stopped, as `on_unreadable` says.

Never here: the patterns (`redact_patterns`).
"""

import hashlib
import hmac
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import AfterValidator, model_validator
from pydantic import Field as OptionField

from mailpipe.fields import ContentDisposition
from mailpipe.message import Entity, Header, Message, edit
from mailpipe.pipeline.access import Access
from mailpipe.pipeline.component import LocalPath, Options, Stage
from mailpipe.pipeline.mail import Changed, Mail
from mailpipe.pipeline.services import Services
from mailpipe.pipeline.verdict import Decision, Verdict
from mailpipe.stages import html_text, html_tokens, templates, text_edit
from mailpipe.stages.attachment_choice import Covered, matches
from mailpipe.stages.attachment_store import Manifest
from mailpipe.stages.redact_patterns import BUILT_IN, Finder, find, of_operator

_WILD = re.compile(r"[*?\[]")


def _known(names: tuple[str, ...]) -> tuple[str, ...]:
    for name in names:
        if name not in BUILT_IN:
            raise ValueError(f"there is no pattern {name!r}; there are {', '.join(BUILT_IN)}")
    return names


def _fillable(text: str) -> str:
    try:
        filled = text.format(pattern="", digest="")
    except (KeyError, ValueError, IndexError, AttributeError) as error:
        raise ValueError(f"{error} cannot be filled in; in braces it may name pattern and digest") from error
    if not filled.isprintable():
        raise ValueError("a replacement is one line of printable text")
    return text


@dataclass(frozen=True, slots=True)
class Redacted:
    """A note: what was replaced.

    Attributes:
        counts: name of the pattern → places.
        left: parts that could not be looked at or changed.
    """

    counts: Mapping[str, int]
    left: tuple[str, ...] = ()


class RedactOptions(Options):
    """What is replaced, where, and by what."""

    patterns: Annotated[tuple[str, ...], AfterValidator(_known)] = ("iban", "credit-card", "us-ssn")
    """Built-in patterns: email, phone, iban, credit-card, ipv4, ipv6, us-ssn."""
    custom: dict[str, str] = OptionField(default_factory=dict)
    """More patterns: name → expression in RE2's syntax."""
    replacement: Annotated[str, AfterValidator(_fillable)] = "[{pattern}]"
    """What takes the place; may name pattern and digest (16 hexadecimal digits that stand for the value)."""
    key: str = ""
    """The name of the secret that digests are made with."""
    fields: tuple[str, ...] = ("Subject",)
    """Header fields whose texts are looked at, with wildcards; redacting addresses in From or To breaks replies."""
    attachments: bool = True
    """Whether attached texts are looked at, or only those that are shown."""
    filenames: bool = True
    """Whether names of files are looked at."""
    on_unreadable: Literal["keep", "quarantine", "reject"] = "quarantine"
    """What to do with a message that has a text which something is to be replaced in, and which cannot be written
    again without loss."""
    report: LocalPath | None = None
    """A JSON Lines file that gets a line for each message in which something was replaced: counts, never values."""

    @model_validator(mode="after")
    def _digest_has_its_key(self) -> "RedactOptions":
        if "{digest" in self.replacement and not self.key:
            raise ValueError("a replacement with {digest} needs key, the name of the secret that digests are made with")
        return self


class Redact(Stage[RedactOptions]):
    """Replaces what is personal in texts, HTML, fields and file names, and says how much."""

    name = "redact"
    Options = RedactOptions
    reads = Access(fields=("*",), body=True)
    touches = Access(fields=("*",), body=True, notes=(Redacted, Changed,))

    @classmethod
    def accesses(cls, options: RedactOptions) -> tuple[Access, Access]:
        """It touches bodies, the fields that it is told to look at, and those that describe the body."""
        fields = ("*",) if any(_WILD.search(name) for name in options.fields) else options.fields
        parts = Access(fields=(*text_edit.CONTENT_FIELDS, *fields), body=True)
        reads = parts | Access(fields=("Message-ID",) if options.report is not None else ())
        return reads, parts | Access(notes=(Redacted, Changed))

    @classmethod
    def decisions(cls, options: RedactOptions) -> tuple[Decision, ...]:
        """What it was told to do about a text that cannot be read."""
        named = {"quarantine": (Decision.QUARANTINE,), "reject": (Decision.REJECT,)}
        return named.get(options.on_unreadable, ())

    def open(self, services: Services) -> None:
        """Compile the patterns, get the key, open the report.

        Raises:
            ConfigError: a pattern cannot be used, or RE2 is missing.
            SecretMissing: there is no key.
            OutputError: the report cannot be written.
        """
        options = self.options
        self._finders: dict[str, Finder] = {name: BUILT_IN[name] for name in options.patterns}
        self._finders |= of_operator(options.custom)
        self._key = services.secrets.get(options.key).encode() if options.key else b""
        self._report = Manifest(options.report) if options.report is not None else None
        if self._report is not None:
            self._report.open()

    def close(self) -> None:
        """Close the report."""
        if getattr(self, "_report", None) is not None:
            self._report.close()  # type: ignore[union-attr]

    def process(self, mail: Mail) -> Mail | Verdict:
        """Look at every entity of the message."""
        message, counts, left = mail.message, Counter[str](), list[str]()
        covered, line_end = Covered(message), message.header.line_end

        def change(path: str, entity: Entity) -> Entity:
            if covered.holds(path):
                return entity
            if not entity.is_multipart and not entity.parts:
                made = self._leaf(entity, counts, line_end)
                if made is None:
                    left.append(f"part {path or '1'} cannot be read without loss")
                else:
                    entity = made
            if isinstance(entity, Message):
                entity = self._header(entity, counts)
            return entity

        changed = edit.map_entities(message, change)
        if left and self.options.on_unreadable != "keep":
            reason = f"{left[0]}, and something in it is to be redacted"
            note = Redacted(dict(counts), tuple(left))
            if self.options.on_unreadable == "quarantine":
                return Verdict.quarantine(reason, notes=(note,))
            return Verdict.reject(reason, status="5.7.1", notes=(note,))
        left += [f"part {path or '1'} is signed or encrypted" for path in covered.paths]
        if not counts and not left:
            return mail
        notes: list[object] = [Redacted(dict(counts), tuple(left))]
        if counts:
            words = ", ".join(f"{count} {name}" for name, count in sorted(counts.items()))
            notes.append(Changed(self.name, f"replaced {words}"))
            if self._report is not None:
                told = {"origin": str(mail.origin), "message_id": message.message_id, "counts": dict(counts)}
                self._report.add({**told, "left": left})
        return mail.with_message(changed).with_note(*notes)

    def _instead(self, name: str, value: str) -> str:
        digest = ""
        if self._key:
            plain = "".join(value.split()).casefold().encode("utf-8", "replace")
            digest = hmac.new(self._key, plain, hashlib.sha256).hexdigest()[:16]
        return self.options.replacement.format(pattern=name, digest=digest)

    def _text(self, text: str, counts: Counter[str]) -> str:
        """A text with everything replaced."""
        pieces, position = [], 0
        for span in find(text, self._finders):
            pieces += [text[position : span.start], self._instead(span.name, text[span.start : span.stop])]
            position = span.stop
            counts[span.name] += 1
        return "".join((*pieces, text[position:])) if pieces else text

    def _header(self, message: Message, counts: Counter[str]) -> Message:
        header: Header = message.header
        lines = list(header.lines)
        is_changed = False
        for place, line in enumerate(lines):
            if not line.is_field or not matches(line.name, self.options.fields):
                continue
            old = line.text
            new = self._text(old, counts)
            if new != old:
                lines[place] = templates.composed(line.name, new, header.line_end)
                is_changed = True
        return message.with_header(header.with_fields(lines)) if is_changed else message

    def _leaf(self, leaf: Entity, counts: Counter[str], line_end: bytes) -> Entity | None:
        """The leaf with everything replaced; None where that would lose what else it says."""
        made, kind = leaf, leaf.content_type
        if kind.type == "text" and (self.options.attachments or not leaf.is_attachment):
            found = Counter[str]()
            text = leaf.text
            edits = self._in_html(text, found) if kind.subtype == "html" else self._in_text(text, found)
            if edits:
                edited = text_edit.edited(leaf, edits, line_end=line_end)
                if edited is None:
                    return None
                made = edited
                counts.update(found)
        return self._with_names(made, counts) if self.options.filenames else made

    def _in_text(self, text: str, counts: Counter[str]) -> list[text_edit.Edit]:
        edits = []
        for span in find(text, self._finders):
            edits.append((span.start, span.stop, self._instead(span.name, text[span.start : span.stop])))
            counts[span.name] += 1
        return edits

    def _in_html(self, html: str, counts: Counter[str]) -> list[text_edit.Edit]:
        edits: list[text_edit.Edit] = []
        for run in html_text.runs(html):
            for span in find(run.text, self._finders):
                edits += run.edits(span.start, span.stop, self._instead(span.name, run.text[span.start : span.stop]))
                counts[span.name] += 1
        for token in html_tokens.tokens(html):
            if token.kind != "start" or token.name not in ("a", "area"):
                continue
            target = html_tokens.attributes(html, token).get("href", "").strip().lower()
            if target.startswith(("mailto:", "tel:", "sms:", "callto:")):
                for start, stop, new in self._in_text(html[token.start : token.stop], counts):
                    edits.append((token.start + start, token.start + stop, new.replace('"', "").replace("'", "")))
        return sorted(edits)

    def _with_names(self, leaf: Entity, counts: Counter[str]) -> Entity:
        """The leaf with what is personal in its file name replaced."""
        disposition, kind, header = leaf.disposition, leaf.content_type, leaf.header
        name = disposition.filename if isinstance(disposition, ContentDisposition) else None
        if name and disposition is not None and (new := self._text(name, counts)) != name:
            header = header.with_field("Content-Disposition", disposition.with_param("filename", new))
        name = kind.params.get("name")
        # the same name twice is one place
        if name and (new := self._text(name, Counter() if header is not leaf.header else counts)) != name:
            header = header.with_field("Content-Type", kind.with_param("name", new))
        return leaf if header is leaf.header else leaf.with_header(header)
