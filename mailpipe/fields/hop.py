"""The clauses of a trace field in whatever order and manner a host writes them (RFC 5321 section 4.4).

    clauses, stop, dated = hop.read("by b.example from a.example (x) id 7; 6 Oct 2002 22:52:55 +0100", [], 62)
    clauses                      # {"by": "b.example", "from": "a.example", "id": "7"}, {"from": "x"}, []

The lexer tells what a word is. Nearly all hops hold nothing that is never closed, and one pattern cuts those into the
same words in a fifth of the time.

Never here: the date, and the value that is made of all that.
"""

import re
from collections.abc import Iterable, Iterator

from mailpipe.defect import Defect
from mailpipe.fields.value import octets_before
from mailpipe.wire.lexer import ATOM, COMMENT, LITERAL, SPECIAL, Token, tokens, unescape

_CLAUSES = frozenset(("from", "by", "via", "with", "id", "for"))
_LATE_DATE = re.compile(
    r"(?:(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun),? +)?\d{1,2} +[A-Z][a-z][a-z] +\d{4} +\d\d?:\d\d"
    r"|(?<= )\d{4}-\d\d-\d\d \d\d:\d\d"
)
_BLANKS = " \t\r\n"
# A word as the lexer has it; what is never closed or has a backslash outside of quotes ends in one of no kind.
_FLAT = r"[^()\\]*+(?>(?:\\.[^()\\]*+)*)"
_NESTED = rf"\({_FLAT}(?>(?:\({_FLAT}(?>(?:\({_FLAT}\){_FLAT})*)\){_FLAT})*)\)"
_LITERAL = r"\[[^\[\]\\()<>,;\r\n]*+\]"
_SIGNS = r"[^ \t\r\n(<>@,;:\"\[\\]++"
_MORE = rf"(?>(?:{_SIGNS}|::|(?!{_LITERAL})\[)+)"
_CALM_WORD = re.compile(
    rf"([ \t\r\n]*+)(?:((?!=\?)(?>{_SIGNS}(?:(?=::|\[){_MORE})?|{_MORE})(?!\\))|([@:]|<++|>++|,++|;++)"
    rf"|({_NESTED})|({_LITERAL})|(\"[^\"\\]*+(?>(?:\\.[^\"\\]*+)*)\")|.++)",
    re.DOTALL,
)
_CALM_DATE = re.compile(r"[^()\[\"\\]*+(?>(?:\([^()\\]*+\)[^()\[\"\\]*+)*)\Z")
_Word = tuple[str, str, str, str, str, str]
"""Blanks before it, and one of an atom, a special, a comment, a literal, a quoted string, with what encloses it."""
Clauses = tuple[dict[str, str], dict[str, str], list[str]]
"""What stands behind each clause's name, the comment of each, and the comments that belong to none."""


def read(text: str, defects: list[Defect], size: int) -> tuple[Clauses, int, str]:
    """The clauses of a hop, the end of the semicolon behind them (0 where there is none), the text of the date.

    Args:
        text: the body, folded or not.
        defects: a list that takes what is wrong.
        size: octets of the body.
    """
    return read_calm(text) or read_words(text, defects, size)


def read_calm(text: str) -> tuple[Clauses, int, str] | None:
    """The clauses, the end of the last semicolon, the date; None where the lexer has to think."""
    stop = begin = text.rfind(";") + 1
    before = text[:stop].rstrip(";")
    if not stop:
        late = _LATE_DATE.search(text, max(0, len(text) - 200))
        begin = len(text) if late is None else late.start()
        before = text[:begin]
        if late is not None and before.rstrip(_BLANKS) == before != "":
            return None
    if _CALM_DATE.match(text, begin) is None:
        return None
    words: list[_Word] = _CALM_WORD.findall(before.rstrip(_BLANKS))
    return None if words and not any(words[-1][1:]) else (_clauses(words), stop, text[begin:])


def read_words(text: str, defects: list[Defect], size: int) -> tuple[Clauses, int, str]:
    """The same for any text.

    Args:
        text: the body.
        defects: a list that takes what is wrong.
        size: octets of the body.
    """
    broken: list[tuple[str, int]] = []
    every = list(tokens(text, broken))
    defects += [Defect(code, octets_before(text, position, size)) for code, position in broken]
    last = next((index for index in range(len(every) - 1, -1, -1) if _is(every[index], ";")), -1)
    stop = every[last].end if last >= 0 else 0
    if last >= 0:
        words, begin = every[:last], stop
    else:
        late = _LATE_DATE.search(text, max(0, len(text) - 200))
        begin = len(text) if late is None else late.start()
        words = [token for token in every if token.end <= begin]
    return _clauses(_words(words)), stop, text[begin:]


def _is(token: Token, sign: str) -> bool:
    return token.kind is SPECIAL and token.text == sign


def _words(every: list[Token]) -> Iterator[_Word]:
    behind = 0
    for kind, text, start, end in every:
        blank = " " if start > behind else ""
        behind = end
        if kind is ATOM:
            yield blank, text, "", "", "", ""
        elif kind is SPECIAL:
            yield blank, "", text, "", "", ""
        elif kind is COMMENT:
            yield blank, "", "", f"({text})", "", ""
        elif kind is LITERAL:
            yield blank, "", "", "", text, ""
        else:
            yield blank, "", "", "", "", f'"{text}"'


_Piece = tuple[str, str, str]
"""Blanks or a comment before it; its text; the same where it is a literal."""


def _clauses(words: Iterable[_Word]) -> Clauses:
    found: dict[str, list[_Piece]] = {}
    notes: dict[str, str] = {}
    comments: list[str] = []
    name = ""
    value: list[_Piece] = []
    noted = ""
    for blank, atom, special, comment, literal, quoted in words:
        if comment:
            text = comment[1:-1]
            text = " ".join((unescape(text) if "\\" in text else text).split())
            if name in ("from", "by") and name not in notes:
                notes[name] = text
            else:
                comments.append(text)
            noted = " "
            continue
        if atom and (low := atom.lower()) in _CLAUSES and low not in found and (value or not name):
            name = low
            value = found[name] = []
        elif name:
            value.append((blank or noted, atom or special[:1] or literal or quoted, literal))
        noted = ""
    clauses: dict[str, str] = {}
    for key, value in found.items():
        if key in ("from", "by") and len(value) > 1 and value[1][2] and value[1][0]:
            # QUIRK: fetchmail writes "from host [192.0.2.1]" without parentheses.
            if notes.setdefault(key, value[1][2]) != value[1][2]:
                comments.append(value[1][2])
            value = value[:1]
        text = value[0][1] if len(value) == 1 and value[0][1] not in ";," else _first(key, value)
        if text:
            clauses[key] = text[1:-1] if key in ("id", "for") and text[:1] == "<" and text[-1:] == ">" else text
    return clauses, notes, comments


def _first(name: str, value: list[_Piece]) -> str:
    """A host up to a comma, one identifier, one recipient; QUIRK: "id 7 envelope-from <a@b>", "for <a> from <b>"."""
    stop = len(value)
    while stop and value[stop - 1][1] == ";":
        stop -= 1
    start = 1 if name == "for" and stop > 1 and value[1][1] == "<" else 0  # QUIRK: "for fork <fork@a.example>"
    is_in_brackets = name == "for" and stop > start and value[start][1] == "<"
    pieces: list[str] = []
    for blank, text, _ in value[start:stop]:
        if text == "," and name in ("from", "by"):
            break
        if blank and pieces:
            if name in ("id", "for") and not is_in_brackets:
                break
            pieces.append(" ")
        pieces.append(text)
        if is_in_brackets and text == ">":
            break
    return "".join(pieces)
