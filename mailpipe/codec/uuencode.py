"""Uuencoded blocks (POSIX uuencode), as mail before MIME carried files: decoding only.

    for block in uuencode.find(text): ...        # "begin 644 name" … "end" anywhere in a text
    octets = uuencode.decode(raw, defects)       # the body of a part that says x-uuencode

Never here: encoding; nothing new should be written this way. File modes are reported, never applied.

QUIRK: lines whose trailing blanks a transport cut off are completed; a check character at the end of a line is
ignored; a block without its "end" line stops at the first line that is no encoded line.
"""

import binascii
import re
from collections.abc import Iterator
from dataclasses import dataclass

from mailpipe.codec import base64
from mailpipe.defect import Defect

__all__ = ["Block", "decode", "find"]

_BEGIN = re.compile(rb"^begin(-base64)? ([0-7]{3,4}) ([^\r\n]{1,998}+)\r?\n", re.MULTILINE)
_LINE = re.compile(rb"([!-`][ -`]*+)\r?(?:\n|\Z)")
_ZERO = re.compile(rb"[` ]?[ \t]*+\r?\n")
_END = re.compile(rb"end[ \t]*+\r?(?:\n|\Z)")
_BASE64_LINE = re.compile(rb"[A-Za-z0-9+/]++={0,2}+[ \t]*+\r?(?:\n|\Z)")
_BASE64_END = re.compile(rb"====[ \t]*+\r?(?:\n|\Z)")


@dataclass(frozen=True, slots=True)
class Block:
    """One uuencoded file.

    Attributes:
        start, stop: offsets of its "begin" line and behind its "end" line, within the searched octets.
        filename: the name as written, with octets that are not UTF-8 replaced. Not safe as a path.
        mode: permission bits of the "begin" line.
        octets: the decoded file.
        defects: "invalid-uuencode" where the block is damaged or has no end.
    """

    start: int
    stop: int
    filename: str
    mode: int
    octets: bytes
    defects: tuple[Defect, ...] = ()


def find(octets: bytes) -> Iterator[Block]:
    r"""The uuencoded blocks of a text, in order; a "begin" line that no encoded line follows is text.

    >>> [block.octets for block in find(b"see:\nbegin 644 a.txt\n#0V%T\n`\nend\n")]
    [b'Cat']
    """
    position = octets.find(b"begin")
    while position >= 0 and (begin := _BEGIN.search(octets, position)):
        block = _read_base64(octets, begin) if begin[1] else _read(octets, begin)
        if block is not None:
            yield block
        position = begin.end() if block is None else block.stop


def decode(octets: bytes | memoryview, defects: list[Defect] | None = None) -> bytes:
    """Undo a body that says x-uuencode: its first block; the octets themselves when it has none."""
    octets = bytes(octets)
    block = next(find(octets), None)
    if block is None:
        if defects is not None:
            defects.append(Defect("invalid-uuencode", 0, "no begin line"))
        return octets
    if defects is not None:
        defects.extend(block.defects)
    return block.octets


def _block(octets: bytes, begin: re.Match[bytes], stop: int, pieces: list[bytes], defects: list[Defect]) -> Block:
    filename = begin[3].strip().decode("utf-8", "replace")
    return Block(begin.start(), stop, filename, int(begin[2], 8), b"".join(pieces), tuple(defects))


def _read(octets: bytes, begin: re.Match[bytes]) -> Block | None:
    position, pieces, defects = begin.end(), list[bytes](), list[Defect]()
    while True:
        if end := _END.match(octets, position):
            return _block(octets, begin, end.end(), pieces, defects)
        if zero := _ZERO.match(octets, position):
            if not (end := _END.match(octets, zero.end())):
                break
            position = zero.end()
            continue
        line = _LINE.match(octets, position)
        if line is None:
            break
        size = (line[1][0] - 32) & 63
        need = (size + 2) // 3 * 4
        symbols = line[1][1:]
        # A check character may follow; cut-off blanks are all that may be missing.
        if len(symbols) > need + 2:
            break
        if len(symbols) < (size * 4 + 2) // 3 and not defects:
            defects.append(Defect("invalid-uuencode", position, "short line"))
        try:
            # Exactly the symbols that the size asks for: a2b_uu refuses bits beyond them.
            pieces.append(binascii.a2b_uu(line[1][: (size * 4 + 5) // 3]))
        except binascii.Error:
            break
        position = line.end()
    if not pieces:
        return None
    defects.append(Defect("invalid-uuencode", position, "no end line"))
    return _block(octets, begin, position, pieces, defects)


def _read_base64(octets: bytes, begin: re.Match[bytes]) -> Block | None:
    position, defects = begin.end(), list[Defect]()
    while line := _BASE64_LINE.match(octets, position):
        position = line.end()
    pieces = [base64.decode(octets[begin.end() : position], defects)]
    if end := _BASE64_END.match(octets, position):
        return _block(octets, begin, end.end(), pieces, defects)
    if position == begin.end():
        return None
    defects.append(Defect("invalid-uuencode", position, "no end line"))
    return _block(octets, begin, position, pieces, defects)
