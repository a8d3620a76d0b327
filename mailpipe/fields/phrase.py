"""Words and phrases of an address field: which of them make an address, which a name (RFC 5322 3.2.5, 4.1, 4.4).

    phrase_text(text, words)                     # the display name that the words spell, decoded
    address_text(words)                          # the address that they spell
    render_phrase("Smith, Ann")                  # b'"Smith, Ann"'

Never here: where in a list the words stand; address.py knows.
"""

import re

from mailpipe.codec import encoded_word
from mailpipe.fields.addr_spec import DOT_ATOM
from mailpipe.wire.lexer import QUOTED, SPECIAL, Token, unescape

_DOT_ATOM = re.compile(DOT_ATOM)
_PLAIN_PHRASE = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~ -]*+")
_BLANKS = re.compile(r"[ \t\r\n]++")


def quote_phrase(text: str) -> str:
    """A name as it may stand in a phrase: as it is, or as a quoted string."""
    if _PLAIN_PHRASE.fullmatch(text):
        return text
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def render_phrase(text: str) -> bytes:
    """The octets of a display name: as it is, quoted, or in encoded words (RFC 2047 section 5).

    Line ends become spaces: a name cannot start a new field.
    """
    text = _BLANKS.sub(" ", text).strip()
    if text.isascii() and text.isprintable() and "=?" not in text:
        return quote_phrase(text).encode("ascii")
    return encoded_word.encode(text, phrase=True)


def decode_phrase(text: str) -> str | None:
    """A name with its encoded words decoded; None for an empty one."""
    if "=?" in text:
        text = encoded_word.decode_text(text)
    return text.strip() or None


def runs_of(words: list[Token]) -> list[tuple[list[Token], bool]]:
    """Words in runs that belong together, across blanks where a dot or an "@" ties them (RFC 5322 section 4.4)."""
    runs: list[tuple[list[Token], bool]] = []
    run: list[Token] = []
    has_at, end, ties = False, -1, False
    for token in words:
        is_at = token.kind is SPECIAL and token.text == "@"
        is_tied = ties or is_at or token.text[:1] == "."
        # QUIRK: '"Ann"ann@example.org' lacks its angle brackets, not a dot.
        if run and not is_tied and (token.start > end or run[-1].kind is QUOTED):
            runs.append((run, has_at))
            run, has_at = [], False
        run.append(token)
        has_at = has_at or is_at
        end, ties = token.end, is_at or token.text[-1:] == "."
    if run:
        runs.append((run, has_at))
    return runs


def address_text(words: list[Token]) -> str:
    """The address that the words spell; of several runs the first with an "@" counts."""
    if not words:
        return ""
    runs = runs_of(words)
    run = next((run for run, has_at in runs if has_at), None)
    if run is None:
        run = words
    if len(run) > 1 and run[0].kind is QUOTED and run[1].text == "@" and _DOT_ATOM.fullmatch(run[0].text):
        pieces = [run[0].text]
    else:
        pieces = [_word(run[0])]
    pieces += [_word(token) for token in run[1:]]
    text = "".join(pieces)
    return text[:-1] if text[-1:] == "." and "@" in text else text


def _word(token: Token) -> str:
    if token.kind is not QUOTED:
        return token.text
    text = token.text
    if "\n" in text or "\r" in text:
        text = text.replace("\r", "").replace("\n", "")
    return f'"{text}"'


def phrase_text(text: str, words: list[Token]) -> str | None:
    """The display name that the words spell, decoded; None for an empty one."""
    pieces: list[str] = []
    end = words[0].start
    for token in words:
        if token.start > end and pieces:
            pieces.append(" ")
        pieces.append(unescape(token.text) if token.kind is QUOTED else token.text.replace('\\"', '"'))
        end = token.end
    return decode_phrase("".join(pieces))
