"""Parameters behind a value: "; name=value" (RFC 2045 section 5.1), continued and with charsets (RFC 2231).

    found = parameter.parse("; filename*=utf-8''na%C3%AFve.txt; size=12")
    found["filename"], found.get("SIZE")          # "naïve.txt", "12"

Departures, for the sake of mail as it is: QUIRK: encoded words are decoded in values (Outlook); values with blanks
need no quotation marks; a missing semicolon is seen where "name=" follows; an extended parameter ("filename*") goes
before a continued one ("filename*0"), and both before a plain one of their name, wherever they stand.

Never here: what a parameter is for; content_type.py and content_disposition.py know.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote_to_bytes

from mailpipe.codec import charset, encoded_word
from mailpipe.defect import Defect
from mailpipe.fields.value import one_line
from mailpipe.frozen import quick_maker
from mailpipe.limits import DEFAULT_LIMITS
from mailpipe.wire.lexer import comment_end

_NAME_SIGNS = r"[^\x00-\x20\x7f()<>@,;:\\\"/\[\]?=]"
_ORDINARY = re.compile(
    r"[ \t\r\n]*+;[ \t\r\n]*+([A-Za-z][A-Za-z0-9-]*+)=[ \t]*+"
    r"(?:\"([ !#-\[\]-~]*+)\"|([A-Za-z0-9!#$&+.^_`{|}~/:@-]++))(?=;|[ \t\r\n]*+(?:;|\Z))(?:[ \t\r\n]*+;?[ \t\r\n]*+\Z)?"
)
_NAME = re.compile(rf"({_NAME_SIGNS}++)[ \t\r\n]*+=[ \t\r\n]*+")
_BARE_NAME = re.compile(rf"{_NAME_SIGNS}++")
_QUOTED = re.compile(r'"([^"\\]*+(?>(?:\\.[^"\\]*+)*))"', re.DOTALL)
_DOUBLED = re.compile(r'""([^";\s][^";]*+)(?:""?|(?=;)|\Z)')  # QUIRK: 'name=""a.txt""'
_WORD = re.compile(r"[^; \t\r\n]++")
_BLANKS = re.compile(r"[ \t\r\n]*+")
_SEPARATORS = re.compile(r"[; \t\r\n]*+")
_SECTION = re.compile(r"(.+?)(?:\*(\d{1,9}))?(\*)?", re.DOTALL)
_ESCAPE = re.compile(r"\\(.)", re.DOTALL)
_FOLD = re.compile(r"\r?\n(?=[ \t])|[\r\n]")
_TOKEN_VALUE = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`{|}~-]++")
# Kept once for all messages.
_COMMON = {name: name for name in ("charset", "name", "boundary", "filename", "format", "type")}
_WHOLE = -1  # the number of a section without one
_PERCENT_SAFE = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789!#$&+.^_`{|}~-")


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Parameters(Mapping[str, str]):
    """Names in lower case and their decoded values, in the order of their first occurrence.

    Looking up a name does not mind its case. In a pydantic model it takes and gives a plain mapping.

    Attributes:
        entries: name → value.
        languages: name → language tag, where RFC 2231 section 4 gave one.

    >>> parse("; CHARSET=utf-8")["charset"]
    'utf-8'
    """

    entries: Mapping[str, str] = field(default_factory=dict)
    languages: Mapping[str, str] = field(default_factory=dict)

    def __getitem__(self, name: str) -> str:
        return self.entries[name.lower()]

    def __iter__(self) -> Iterator[str]:
        return iter(self.entries)

    def __len__(self) -> int:
        return len(self.entries)

    def __hash__(self) -> int:
        return hash(tuple(self.entries.items()))

    def __repr__(self) -> str:
        return f"Parameters({dict(self.entries)!r})"

    def with_parameter(self, name: str, value: str | None) -> "Parameters":
        """A copy with one parameter set, or removed where the value is None."""
        entries = dict(self.entries)
        languages = {key: tag for key, tag in self.languages.items() if key != name.lower()}
        if value is None:
            entries.pop(name.lower(), None)
        else:
            entries[name.lower()] = value
        return Parameters(entries, languages)

    def render(self) -> bytes:
        """The octets behind the value in a composed field: "; name=value" for each; RFC 2231 where ASCII fails."""
        return b"".join(_render(name, value, self.languages.get(name, "")) for name, value in self.entries.items())

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: Any) -> Any:
        """Validate an instance or a mapping; dump a plain dict."""
        # pydantic is no dependency of this room; whoever calls this has loaded it.
        from pydantic_core import core_schema

        names = core_schema.dict_schema(core_schema.str_schema(), core_schema.str_schema())
        read = core_schema.no_info_after_validator_function(
            lambda entries: cls({name.lower(): value for name, value in entries.items()}), names
        )
        return core_schema.json_or_python_schema(
            json_schema=read,
            python_schema=core_schema.union_schema([core_schema.is_instance_schema(cls), read]),
            serialization=core_schema.plain_serializer_function_ser_schema(
                lambda value: dict(value.entries), return_schema=names
            ),
        )


NO_LANGUAGES: Mapping[str, str] = {}
NO_PARAMETERS = Parameters({}, NO_LANGUAGES)
make_parameters = quick_maker(Parameters)


def _render(name: str, value: str, language: str) -> bytes:
    key = name.encode("ascii", "replace")
    if value.isascii() and value.isprintable() and not language:
        if _TOKEN_VALUE.fullmatch(value) and len(value) <= 60:
            return b"; %b=%b" % (key, value.encode("ascii"))
        quoted = value.replace("\\", "\\\\").replace('"', '\\"').encode("ascii")
        if len(key) + len(quoted) <= 70:
            return b'; %b="%b"' % (key, quoted)
    octets = value.encode("utf-8", "replace")
    letters = [bytes((octet,)) if octet in _PERCENT_SAFE else b"%%%02X" % octet for octet in octets]
    prefix = b"utf-8'%b'" % language.encode("ascii", "replace")
    room = 70 - len(key)
    if sum(map(len, letters)) + len(prefix) <= room:
        return b"; %b*=%b%b" % (key, prefix, b"".join(letters))
    pieces, piece = [], prefix
    for letter in letters:
        if len(piece) + len(letter) > max(room - 6, 20):
            pieces.append(piece)
            piece = b""
        piece += letter
    pieces.append(piece)
    return b"".join(b"; %b*%d*=%b" % (key, number, piece) for number, piece in enumerate(pieces))


def decode_value(value: str) -> str:
    """The text of a plain value given as latin-1: undeclared octets and encoded words are read as they were meant."""
    if not value.isascii():
        value = charset.decode_text(value.encode("latin-1"), None).text
    if "=?" in value:
        value = encoded_word.decode_text(value)
    return value


def _unquote(text: str) -> str:
    if "\n" in text or "\r" in text:
        text = _FOLD.sub("", text)
    if "\\" in text:
        return _ESCAPE.sub(r"\1", text)
    return text


def parse(text: str, defects: list[Defect] | None = None, start: int = 0) -> Parameters:
    """Read the parameters that follow a value. Never raises; linear in the length of the text.

    Args:
        text: the body decoded as latin-1, so that a character is an octet.
        defects: a list that takes what is wrong.
        start: where the first ";" is sought.
    """
    size = len(text)
    if "\x1b$" in text:
        # ISO-2022-JP has quotation marks and semicolons inside its characters.
        raw = text[start:].encode("latin-1")
        text, start = charset.decode_text(raw, "iso-2022-jp").text.encode("utf-8").decode("latin-1"), 0
    entries: dict[str, str] = {}
    position, length = start, len(text)
    match = _ORDINARY.match
    while position < length:
        found = match(text, position)
        if found is None:
            break
        name, quoted, token = found.groups()
        value = token if quoted is None else quoted
        name = _COMMON.get(name) or name.lower()
        if "=?" in value or name in entries or len(entries) >= DEFAULT_LIMITS.parameter_count:
            break
        entries[name] = value
        position = found.end()
    else:
        return make_parameters(entries, NO_LANGUAGES)
    return _Reader(text, size, [] if defects is None else defects).read(start)


def parse_behind(text: str, defects: list[Defect], position: int) -> Parameters:
    """The parameters that stand right behind a value; arguments as for `parse`.

    QUIRK: a comma or a colon may stand there in place of the first semicolon.
    """
    if text[position : position + 1] in (",", ":"):
        defects.append(Defect("invalid-parameter", position, "a semicolon is missing"))
        position += 1
    return parse(text, defects, position) if position < len(text) else NO_PARAMETERS


class _Reader:
    """One pass over a body."""

    def __init__(self, text: str, size: int, defects: list[Defect]) -> None:
        self.text = text
        self.size = size  # of the body, in octets
        self.defects = defects
        self.has_open_comment = False
        self.has_open_quote = False
        self.entries: dict[str, str] = {}
        self.extended: dict[str, dict[int, tuple[str, bool]]] = {}

    def _defect(self, code: str, position: int, detail: str = "") -> None:
        if len(self.defects) < 100:  # a megabyte of trouble needs no megabyte of complaints
            self.defects.append(Defect(code, min(position, self.size), one_line(detail)))

    def _blanks(self, position: int) -> int:
        blanks = _BLANKS.match(self.text, position)
        return blanks.end() if blanks else position

    def _skip(self, position: int) -> int:
        """Behind white space and comments."""
        text = self.text
        while True:
            position = self._blanks(position)
            if not text.startswith("(", position) or self.has_open_comment:
                return position
            end = comment_end(text, position)
            if end < 0:
                self.has_open_comment = True
                self._defect("unclosed-comment", position)
                return position
            position = end

    def read(self, position: int) -> Parameters:
        text, length, count = self.text, len(self.text), 0
        while position < length:
            separators = _SEPARATORS.match(text, position)
            position = self._skip(separators.end() if separators else position)
            if position >= length or text[position] == ";":
                continue
            count += 1
            if count > DEFAULT_LIMITS.parameter_count:
                self._defect("limit-parameter-count", position)
                break
            position = self._one(position)
        return self._result()

    def _one(self, position: int) -> int:
        """Read one parameter; where it ends."""
        text, start = self.text, position
        found = _NAME.match(text, position)
        if found is None:
            found_name = _BARE_NAME.match(text, position)
            after = self._skip(found_name.end()) if found_name else position
            if found_name is None or not text.startswith("=", after):
                end = text.find(";", position)
                end = len(text) if end < 0 else end
                self._defect("invalid-parameter", start, text[start:end].strip())
                return end
            name, position = found_name[0], after + 1
        else:
            name, position = found[1], found.end()
        position = self._skip(position)
        if text.startswith('"', position):
            value, position = self._quoted(position)
        else:
            value, position = self._bare(position)
        self._keep(name.lower(), value, start)
        return position

    def _quoted(self, position: int) -> tuple[str, int]:
        text = self.text
        found = None if self.has_open_quote else _QUOTED.match(text, position)
        if found is not None:
            if not found[1] and (doubled := _DOUBLED.match(text, position)):
                found = doubled
                self._defect("invalid-parameter", position, "doubled quotation marks")
            inside, position = found[1], self._skip(found.end())
            if position < len(text) and text[position] != ";" and not _NAME.match(text, position):
                end = text.find(";", position)
                end = len(text) if end < 0 else end
                self._defect("invalid-parameter", position, text[position:end].strip())
                position = end
            elif position < len(text) and text[position] != ";":
                self._defect("invalid-parameter", position, "a semicolon is missing")
            return _unquote(inside), position
        self.has_open_quote = True
        self._defect("unclosed-quote", position)
        end = text.find(";", position)
        end = len(text) if end < 0 else end
        # A path that ends with a backslash has "escaped" its closing quotation mark.
        inside = text[position + 1 : end].rstrip()
        return _unquote(inside.removesuffix('"')), end

    def _bare(self, position: int) -> tuple[str, int]:
        """A value without quotation marks: to the semicolon, or to what looks like the next parameter."""
        text, first, end = self.text, position, position
        comment_stop = -1  # LIMIT: what was read as a comment once is not read as one again
        while word := _WORD.match(text, position):
            if position > first:
                if _NAME.match(text, position):
                    self._defect("invalid-parameter", position, "a semicolon is missing")
                    break
                if text[position] == "(" and position >= comment_stop:
                    comment_stop = comment_end(text, position)
                    if comment_stop < 0:
                        comment_stop = len(text)
                    elif (behind := self._blanks(comment_stop)) >= len(text) or text[behind] == ";":
                        return _FOLD.sub("", text[first:end]), behind
            end = word.end()
            position = self._blanks(end)
        if end > first and any(sign in " \t" for sign in text[first:end]):
            self._defect("invalid-parameter", first, text[first:end])
        return _FOLD.sub("", text[first:end]), position

    def _keep(self, name: str, value: str, start: int) -> None:
        if "*" in name:
            found = _SECTION.fullmatch(name)
            if found is not None and (found[2] or found[3]):
                sections = self.extended.setdefault(found[1], {})
                number = int(found[2]) if found[2] else _WHOLE
                if number in sections:
                    self._defect("duplicate-parameter", start, name)
                else:
                    sections[number] = (value, found[3] is not None)
                return
        if name in self.entries:
            if self.entries[name] != value:
                self._defect("duplicate-parameter", start, name)
            return
        self.entries[name] = value

    def _result(self) -> Parameters:
        entries = {name: decode_value(value) for name, value in self.entries.items()}
        languages: dict[str, str] = {}
        for name, sections in self.extended.items():
            whole = sections.pop(_WHOLE, None)
            if whole is not None:
                if 0 in sections:
                    self._defect("duplicate-parameter", 0, name)
                    sections.clear()
                sections[0] = whole  # QUIRK: "name*" before "name*1" is its beginning
            entries[name], language = _join(sections)
            if language:
                languages[name] = language
            if max(sections) + 1 != len(sections):
                self._defect("invalid-parameter", 0, f"a piece of {name} is missing")
        return make_parameters(entries, languages)


def _labelled(value: str) -> tuple[str, str, str]:
    """Charset, language and text of an extended value (RFC 2231 section 4); "" for what is not said."""
    label, apostrophe, rest = value.partition("'")
    if not apostrophe:
        return "", "", value
    language, apostrophe, text = rest.partition("'")
    if apostrophe:
        return label, language, text
    # QUIRK: "utf-8'name" lacks its language and one apostrophe; "Ann's name" lacks nothing.
    return (label, "", rest) if len(label) <= 40 and charset.codec_name(label) else ("", "", value)


def _join(sections: dict[int, tuple[str, bool]]) -> tuple[str, str]:
    """The value that the sections make, and its language (RFC 2231 sections 3 and 4)."""
    label = language = ""
    octets: list[bytes] = []
    is_extended = False
    for number in sorted(sections):
        value, is_encoded = sections[number]
        if is_encoded:
            if not is_extended and not octets:
                label, language, value = _labelled(value)
            is_extended = True
            octets.append(unquote_to_bytes(value.encode("latin-1")))
        else:
            octets.append(value.encode("latin-1"))
    whole = b"".join(octets)
    if not is_extended:
        return decode_value(whole.decode("latin-1")), ""
    if label and whole.isascii() and label.lower() in ("us-ascii", "utf-8", "iso-8859-1"):
        return whole.decode("ascii"), language
    text = charset.decode_text(whole, label or None).text
    # QUIRK: some mailers put an encoded word into an extended value.
    return (encoded_word.decode_text(text) if text.startswith("=?") else text), language
