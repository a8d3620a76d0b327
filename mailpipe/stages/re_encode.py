"""The stage `re-encode`: what was changed, and what a mail server could not carry, in the best fitting encoding.

    [[stage]]
    use = "re-encode"
    domain = "8bit"                 # 7bit for servers without 8BITMIME
    charset = "utf-8"               # keep | utf-8 | ascii
    parts = "needed"                # needed | all

A part that need not change leaves as it came, octet for octet; what lies under multipart/signed or multipart/encrypted
always does (RFC 1847), and where it cannot the message is refused.

Never here: the encodings (`mailpipe.codec.transfer`), and how a header is said in ASCII (`mailpipe.writer.downgrade`).
"""

from typing import Literal

from mailpipe.codec import charset as charsets
from mailpipe.codec import transfer
from mailpipe.errors import ComposeError
from mailpipe.message import Entity, Message, edit
from mailpipe.pipeline.access import Access
from mailpipe.pipeline.component import Options, Stage
from mailpipe.pipeline.mail import Changed, Mail
from mailpipe.pipeline.verdict import Decision, Verdict
from mailpipe.writer import WritePolicy
from mailpipe.writer.downgrade import SIGNED, downgrade, is_below, is_text, reencoded


class ReEncodeOptions(Options):
    """How content is to be said."""

    domain: Literal["7bit", "8bit", "binary"] = "8bit"
    """What the next server can carry: ASCII lines, lines of any octets (8BITMIME), or anything."""
    charset: Literal["keep", "utf-8", "ascii"] = "keep"
    """The charset of text parts: as it is, UTF-8, or ASCII where the text has nothing else and UTF-8 where it has."""
    parts: Literal["needed", "all"] = "needed"
    """Which parts get the best fitting transfer encoding: those that must change or were composed, or every part."""
    utf8_header: bool = True
    """Whether a header may hold UTF-8; where not, and the domain is 7bit, encoded words are used."""
    on_signed: Literal["reject", "quarantine", "keep"] = "reject"
    """What to do when a signed part would have to change for the domain: keep leaves it as it is."""


class ReEncode(Stage[ReEncodeOptions]):
    """Gives parts the best transfer encoding and charset for the next server, and leaves signed ones alone."""

    name = "re-encode"
    Options = ReEncodeOptions
    reads = Access(fields=("*",), body=True)
    touches = Access(fields=("*",), body=True, notes=(Changed,))

    @classmethod
    def decisions(cls, options: ReEncodeOptions) -> tuple[Decision, ...]:
        """What is to be done about signed parts that do not fit."""
        return () if options.on_signed == "keep" else (Decision(options.on_signed),)

    def process(self, mail: Mail) -> Mail | Verdict:
        """Re-encode what needs it."""
        changes: list[str] = []
        message = self._recoded(mail.message, changes)
        policy = WritePolicy(None, self.options.domain, self.options.utf8_header)
        try:
            fitting = downgrade(message, policy)
        except ComposeError as error:
            if self.options.on_signed == "quarantine":
                return Verdict.quarantine(str(error))
            if self.options.on_signed == "reject":
                return Verdict.reject(str(error), status=str(error.status))
            fitting = message
        if fitting is not message:
            changes += _differences(message, fitting)
        if not changes and fitting is mail.message:
            return mail
        assert isinstance(fitting, Message)
        return mail.with_message(fitting).with_note(*(Changed(self.name, what) for what in changes))

    def _recoded(self, message: Message, changes: list[str]) -> Message:
        covered = tuple(path for path, one in message.walk() if one.content_type.value in SIGNED)

        def change(path: str, leaf: Entity) -> Entity:
            if is_below(path, covered):
                return leaf
            made = self._with_charset(path, leaf, changes)
            if self.options.parts == "all" or made.is_composed:
                made = self._with_best_encoding(path, made, changes)
            return made

        return edit.map_leaves(message, change)

    def _with_charset(self, path: str, leaf: Entity, changes: list[str]) -> Entity:
        """The same text in the wanted charset; a text that cannot be read without loss stays as it is."""
        kind = leaf.content_type
        if self.options.charset == "keep" or kind.type != "text":
            return leaf
        decoded = leaf.decoded_text
        if decoded.is_lossy:
            return leaf
        wanted = "us-ascii" if self.options.charset == "ascii" and decoded.text.isascii() else "utf-8"
        declared = (kind.charset or "").lower()
        codec = charsets.codec_name(declared) if declared else None
        if decoded.text.isascii() and (codec in ("ascii", "utf_8") or not declared) and leaf.octets.isascii():
            return leaf  # the same octets under either name
        if codec == charsets.codec_name(wanted) and not decoded.defects:
            return leaf
        octets = decoded.text.encode(wanted)
        token = transfer.choose(octets, self.options.domain, is_text=True)
        header = leaf.header.with_field("Content-Type", kind.with_param("charset", wanted))
        changes.append(f"part {path or '1'}: charset {decoded.charset} → {wanted}")
        return leaf.with_octets(octets, token, header=header, is_text=True)

    def _with_best_encoding(self, path: str, leaf: Entity, changes: list[str]) -> Entity:
        old = transfer.canonical(leaf.transfer_encoding)
        if old is None:
            return leaf  # what the octets mean nobody knows
        token = transfer.choose(leaf.octets, self.options.domain, is_text=is_text(leaf))
        if token == old:
            return leaf
        changes.append(f"part {path or '1'}: {old} → {token}")
        return reencoded(leaf, token)


def _differences(before: Entity, after: Entity) -> list[str]:
    """One line for each part that another transfer encoding or header was needed for."""
    found = []
    for (path, old), (_, new) in zip(before.walk(), after.walk(), strict=True):
        if old is new:
            continue
        if old.transfer_encoding != new.transfer_encoding:
            found.append(f"part {path or '1'}: {old.transfer_encoding} → {new.transfer_encoding}")
        elif bytes(old.header) != bytes(new.header):
            found.append(f"{'header' if not path else f'header of part {path}'} written anew")
    return found
