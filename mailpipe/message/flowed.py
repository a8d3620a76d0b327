"""Text in format=flowed (RFC 3676): lines that belong together, quote depth, and back.

    for paragraph in entity.flowed or ():               # None where the part does not say format=flowed
        print(paragraph.depth, paragraph.text)
    flowed.flow(paragraphs, delsp=True)                 # lines of at most 72 characters; needs delsp=yes to be said
    flowed.render(paragraphs)                           # one line a paragraph, "> " for each level of quoting

A paragraph is what stood in one line before it was folded: a list of code lines gives as many paragraphs.

Never here: Content-Type; whether a part is flowed, and with which delsp, `Entity.flowed` knows.
"""

import unicodedata
from collections.abc import Iterable, Iterator
from typing import NamedTuple

WIDTH = 72
"""RFC 3676 section 4.2: lines should be 78 characters or shorter, which leaves room for quoting."""

_SIGNATURE = "-- "


class Paragraph(NamedTuple):
    """One logical line.

    Attributes:
        text: without soft line breaks, quote marks and stuffing; holds no line end.
        depth: how many times it is quoted.
    """

    text: str
    depth: int = 0


def unflow(text: str, *, delsp: bool = False) -> tuple[Paragraph, ...]:
    r"""The paragraphs of a flowed text (RFC 3676 section 4). Never raises; linear in the length of the text.

    A line goes on in the next one where it ends with a space and both are quoted alike; "-- " never does.

    Args:
        text: with any line ends.
        delsp: whether the space before a soft line break is to be deleted.

    >>> unflow("> so it \n> goes\nyes\n")
    (Paragraph(text='so it goes', depth=1), Paragraph(text='yes', depth=0))
    """
    found: list[Paragraph] = []
    pieces: list[str] = []
    depth = 0
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    if lines[-1] == "":
        lines.pop()
    for line in lines:
        rest = line.lstrip(">")
        level = len(line) - len(rest)
        if rest.startswith(" "):  # stuffing, section 4.4
            rest = rest[1:]
        if pieces and (level != depth or rest == _SIGNATURE):
            found.append(Paragraph("".join(pieces), depth))
            pieces = []
        depth = level
        if rest.endswith(" ") and rest != _SIGNATURE:
            pieces.append(rest[:-1] if delsp else rest)
            continue
        pieces.append(rest)
        found.append(Paragraph("".join(pieces), depth))
        pieces = []
    if pieces:
        found.append(Paragraph("".join(pieces), depth))
    return tuple(found)


def flow(paragraphs: Iterable[Paragraph], *, delsp: bool = False, width: int = WIDTH, line_end: str = "\n") -> str:
    r"""Flowed lines for paragraphs, the reverse of `unflow`.

    A space at the end of a paragraph cannot be said and is left out, but for the signature's "-- ". Without delsp a
    word that is too long for a line stays whole.

    Args:
        paragraphs: their texts hold no line ends; where one does, it becomes several paragraphs.
        delsp: whether the part will say delsp=yes; lines then break between any two characters.
        width: characters in a line, its quote marks and the soft break included; at least 20 are used for text.
        line_end: what ends each line.

    >>> flow([Paragraph("so it goes, on and on", 1), Paragraph("From here")], width=20)
    '> so it goes, on and \n> on\n From here\n'
    """
    lines: list[str] = []
    for paragraph in paragraphs:
        for text in paragraph.text.replace("\r\n", "\n").replace("\r", "\n").split("\n"):
            lines.extend(_flow_one(text, paragraph.depth, delsp, width))
    return "".join(line + line_end for line in lines)


def render(paragraphs: Iterable[Paragraph], *, line_end: str = "\n") -> str:
    r"""One line a paragraph, as a reader shows them that folds lines itself.

    >>> render([Paragraph("so it goes", 2)])
    '>> so it goes\n'
    """
    return "".join(f"{'>' * depth} {text}{line_end}" if depth else f"{text}{line_end}" for text, depth in paragraphs)


def _flow_one(text: str, depth: int, delsp: bool, width: int) -> Iterator[str]:
    marks = ">" * depth
    if text != _SIGNATURE:
        text = text.rstrip(" ")
    room = max(width - depth - 1 - delsp, min(20, width))
    if len(text) <= room:
        yield _stuffed(marks, text)
        return
    start, size = 0, len(text)
    while size - start > room:
        stop = _break(text, start, room, delsp)
        if stop >= size:
            break
        yield _stuffed(marks, text[start:stop] + (" " if delsp else ""))
        start = stop
    yield _stuffed(marks, text[start:])


def _break(text: str, start: int, room: int, delsp: bool) -> int:
    """Where the next line begins: behind spaces, or with delsp anywhere but before a combining character."""
    size = len(text)
    stop = text.rfind(" ", start + 1, start + room) + 1
    if stop <= start or not text[start:stop].strip(" "):
        stop = 0
    if not stop and delsp:
        stop = start + room
        while stop < size and stop - start < 4 * room and unicodedata.combining(text[stop]):
            stop += 1
    elif not stop:
        stop = start
        while text[stop : stop + 1] == " ":
            stop += 1
        stop = text.find(" ", stop) + 1 or size
    while text[stop : stop + 1] == " ":  # all of several spaces stay on this line
        stop += 1
    # a line that would be taken for the line above a signature, or for one without its soft break, grows by a word
    if text[start:stop] == _SIGNATURE or (delsp and text[start:stop] + " " == _SIGNATURE):
        stop = text.find(" ", stop) + 1 or size
    return stop


def _stuffed(marks: str, line: str) -> str:
    """A line with its quote marks, and the space that keeps it from looking quoted (RFC 3676 section 4.4)."""
    if marks:
        return f"{marks} {line}" if line else marks
    return " " + line if line.startswith((" ", ">", "From ")) else line
