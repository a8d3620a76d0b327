"""What every typed value of a header field has in common (RFC 5322 section 2.2), and the value of hopeless bodies.

    value = fields.parse("Date", b" yesterday")
    value.defects                # what is wrong with the octets, () where nothing is
    isinstance(value, Unparsed)  # only where a parser of a plugin failed

Values are frozen and slotted; two are equal when they mean the same, whatever their defects.

Never here: knowledge of any one field. A kind of value has a file of its own.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

from mailpipe.codec import charset
from mailpipe.defect import Defect

Value = TypeVar("Value")


class FieldValue:
    """The base of every typed value.

    Attributes:
        defects: what is wrong with the body; offsets count octets from its beginning.
    """

    # No slot here: each value declares `defects` itself, or `quick_maker` could not lend its layout.
    __slots__ = ()

    defects: tuple[Defect, ...]

    def render(self) -> bytes:
        """The octets of a composed field's body, not folded; ASCII wherever the syntax has a way to say it."""
        raise NotImplementedError(f"{type(self).__name__} has no octets")


@dataclass(frozen=True, slots=True)
class Unparsed(FieldValue):
    """A body that its parser gave up on.

    Attributes:
        body: the octets as they were given.
    """

    body: bytes
    defects: tuple[Defect, ...] = field(default=(), compare=False)

    def __str__(self) -> str:
        return self.body.decode("ascii", "backslashreplace").strip()

    def render(self) -> bytes:
        """The octets as they were given, without white space at their ends."""
        return self.body.strip(b" \t\r\n")


class Remembered(dict[str, Value]):
    """What was read of short texts that come again and again, such as a day, a zone, the name of a host.

    It is looked into by subscript, and reads what it does not know. When it is full it forgets everything, so that a
    sender's inventions fill no memory.
    """

    __slots__ = ("_longest", "_most", "_read")

    def __init__(self, read: Callable[[str], Value], longest: int, most: int = 4096) -> None:
        """Nothing remembered so far.

        Args:
            read: what gives the value of a text; what it raises comes through and is not remembered.
            longest: LIMIT: characters of a text that is remembered.
            most: LIMIT: texts that are remembered.
        """
        super().__init__()
        self._read, self._longest, self._most = read, longest, most

    def __missing__(self, text: str) -> Value:
        value = self._read(text)
        if len(text) <= self._longest:
            if len(self) >= self._most:
                self.clear()
            self[text] = value
        return value


def read_text(body: bytes, defects: list[Defect] | None = None) -> str:
    """The characters of a body: ASCII, else UTF-8 (RFC 6532), else whatever charset is detected.

    Args:
        body: octets as received; encoded words are left alone.
        defects: a list that takes what is wrong.
    """
    try:
        text = body.decode("ascii") if body.find(b"\x1b$") < 0 else charset.decode_text(body, "iso-2022-jp").text
    except UnicodeDecodeError:
        try:
            text = body.decode("utf-8")
        except UnicodeDecodeError as trouble:
            text = charset.decode_text(body, None).text
            if defects is not None:
                defects.append(Defect("eight-bit-header", trouble.start))
    return text


def octets_before(text: str, position: int, size: int) -> int:
    """How many octets stood before a character of a text that `read_text` made of `size` octets.

    Exact for ASCII, UTF-8 and charsets of one octet a character; for other charsets an estimate within the body.
    """
    if len(text) == size:
        return position
    return min(size, len(text[:position].encode("utf-8", "surrogatepass")))


def one_line(text: str, length: int = 60) -> str:
    """A piece of somebody's octets as the detail of a defect: printable and short."""
    short = text[:length]
    return short if short.isprintable() else "".join(mark if mark.isprintable() else "?" for mark in short)
