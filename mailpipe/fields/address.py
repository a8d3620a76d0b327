"""Addresses: mailboxes, groups and lists of them (RFC 5322 section 3.4 and 4.4, RFC 6532, RFC 6854).

    found = address.parse(b'Ann <ann@example.org>, Team: bob@example.net;')
    found[0].display_name, found[0].address       # "Ann", "ann@example.org"
    [mailbox.address for mailbox in found.mailboxes]   # groups flattened
    Mailbox("Ann Smith", "ann@example.org").render()   # octets for a composed field

Departures, for the sake of mail as it is: QUIRK: encoded words are decoded inside quoted strings too; semicolons
separate as commas do; one unquoted comma in a display name is part of it; "mailto:" before an address is dropped;
a local part is unquoted where it needs no quotation marks, and a dot at the end of a domain is dropped.

Never here: whether an address may be used in an envelope; smtp/ decides.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, overload

from mailpipe import native
from mailpipe.defect import Defect
from mailpipe.fields.addr_spec import DOT_ATOM, safe_address
from mailpipe.fields.phrase import address_text, decode_phrase, phrase_text, quote_phrase, render_phrase, runs_of
from mailpipe.fields.value import FieldValue, Remembered, octets_before, one_line, read_text
from mailpipe.frozen import quick_maker, twin_of
from mailpipe.limits import DEFAULT_LIMITS
from mailpipe.wire.lexer import COMMENT, SPECIAL, Token, tokens, unescape

_W = r"[ \t\r\n]*+"
_QUOTED = r"\"([^\"\\\r\n]*+(?>(?:\\[ -~][^\"\\\r\n]*+)*))\""
_PHRASE = r"([A-Za-z0-9!#$%&'*+/=?^_`{|}~ .-]*+)"
_ORDINARY = re.compile(
    rf"{_W}(?:(?:{_QUOTED}|{_PHRASE}){_W}<({DOT_ATOM}@{DOT_ATOM})>"
    rf"|(?!=\?)({DOT_ATOM}@{DOT_ATOM})(?:{_W}\(([^()\\\r\n]*+)\))?){_W}(?:,|\Z)"
)


@dataclass(frozen=True, slots=True)
class Mailbox:
    """One address with the name that is shown for it (RFC 5322 section 3.4).

    In a pydantic model a field of this type also takes text such as "Ann <ann@example.org>".

    Attributes:
        display_name: decoded, None where there is none.
        address: "local-part@domain" as written, without comments and white space; only the local part where the
            sender wrote no domain.

    >>> Mailbox("Ann", "ann@example.org").domain
    'example.org'
    """

    display_name: str | None
    address: str

    @property
    def local_part(self) -> str:
        """What stands before the last "@", with its quotation marks where it needs them."""
        local, at, domain = self.address.rpartition("@")
        return local if at else domain

    @property
    def domain(self) -> str:
        """What stands behind the last "@", "" where there is none."""
        _, at, domain = self.address.rpartition("@")
        return domain if at else ""

    def __str__(self) -> str:
        return f"{quote_phrase(self.display_name)} <{self.address}>" if self.display_name else self.address

    def render(self) -> bytes:
        """The octets of this mailbox in a composed field: encoded words for a name, UTF-8 for an address."""
        address = safe_address(self.address).encode("utf-8", "replace")
        return b"%b <%b>" % (render_phrase(self.display_name), address) if self.display_name else address

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: Any) -> Any:
        """Validate what a dataclass takes, and text in the syntax of RFC 5322."""
        # pydantic is no dependency of this room; whoever calls this has loaded it.
        from pydantic_core import PydanticCustomError, core_schema

        def read(value: object) -> object:
            if not isinstance(value, str):
                return value
            found = parse(value.encode("utf-8", "replace"))
            if len(found) != 1 or not isinstance(found[0], Mailbox) or "@" not in found[0].address:
                raise PydanticCustomError("mailbox", "expected one address such as 'Ann <ann@example.org>'")
            return found[0]

        return core_schema.no_info_before_validator_function(read, handler(source))


@dataclass(frozen=True, slots=True)
class Group:
    """Mailboxes under one name, perhaps none: "undisclosed-recipients:;" (RFC 5322 section 3.4).

    Attributes:
        display_name: decoded.
        mailboxes: its members in order.
    """

    display_name: str
    mailboxes: tuple[Mailbox, ...] = ()

    def __str__(self) -> str:
        return f"{quote_phrase(self.display_name)}: {', '.join(map(str, self.mailboxes))};"

    def render(self) -> bytes:
        """The octets of this group in a composed field."""
        return b"%b: %b;" % (render_phrase(self.display_name), b", ".join(each.render() for each in self.mailboxes))


@dataclass(frozen=True, slots=True)
class AddressList(FieldValue):
    """Mailboxes and groups in order, as From, To, Cc and Reply-To hold them.

    Attributes:
        members: the mailboxes and groups.
        defects: what is wrong with the body.

    >>> [mailbox.address for mailbox in parse(b"a@x.example, Both: b@y.example, c@z.example;").mailboxes]
    ['a@x.example', 'b@y.example', 'c@z.example']
    """

    members: tuple[Mailbox | Group, ...] = ()
    defects: tuple[Defect, ...] = field(default=(), compare=False)

    @property
    def mailboxes(self) -> tuple[Mailbox, ...]:
        """Every mailbox, those of groups included."""
        found: list[Mailbox] = []
        for member in self.members:
            if isinstance(member, Mailbox):
                found.append(member)
            else:
                found.extend(member.mailboxes)
        return tuple(found)

    @property
    def addresses(self) -> tuple[str, ...]:
        """The address of every mailbox."""
        return tuple(mailbox.address for mailbox in self.mailboxes)

    def __iter__(self) -> Iterator[Mailbox | Group]:
        return iter(self.members)

    def __len__(self) -> int:
        return len(self.members)

    @overload
    def __getitem__(self, index: int) -> Mailbox | Group: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[Mailbox | Group, ...]: ...
    def __getitem__(self, index: int | slice) -> Mailbox | Group | tuple[Mailbox | Group, ...]:
        return self.members[index]

    def __str__(self) -> str:
        return ", ".join(map(str, self.members))

    def render(self) -> bytes:
        """The octets of a composed field's body, not folded."""
        return b", ".join(member.render() for member in self.members)


_make_mailbox = quick_maker(Mailbox)
_make_list = quick_maker(AddressList)
_Twin, _MailboxTwin, _new = twin_of(AddressList), twin_of(Mailbox), object.__new__


def parse(body: bytes) -> AddressList:
    """The mailboxes and groups of a field, however it is written. Never raises; linear in its length.

    Args:
        body: what follows the colon, folded or not.
    """
    try:
        text = body.decode("ascii")
    except UnicodeDecodeError:
        return _parse_any(body)
    return _parse_any(body) if "\x1b" in text else of_text(text, body)


def of_text(text: str, body: bytes | None = None) -> AddressList:
    """The same for a body that is ASCII, folded or not.

    Args:
        text: the body.
        body: its octets, where they are at hand.
    """
    members = None if _quick_members is None else _quick_members(text)
    if members is None and (members := members_in_python(text)) is None:
        return _parse_any(text.encode("ascii") if body is None else body)
    made = _new(_Twin)
    made.members, made.defects = members, ()
    made.__class__ = AddressList
    return made  # type: ignore[no-any-return]


def _mailbox(found: re.Match[str]) -> Mailbox:
    quoted, phrase, angle, plain, comment = found.groups()
    name = quoted or phrase or comment
    made = _new(_MailboxTwin)
    made.display_name, made.address = _shown(name, quoted is not None) if name else None, angle or plain
    made.__class__ = Mailbox
    return made  # type: ignore[no-any-return]


def _shown(name: str, is_quoted: bool) -> str | None:
    if is_quoted and "\\" in name:
        name = unescape(name)
    elif not is_quoted and "  " in name:
        name = " ".join(name.split())
    return (decode_phrase(name) if "=?" in name else name.strip()) or None


def _read_mailbox(text: str) -> Mailbox:
    """A mailbox that is written as most are; raises KeyError where it is not."""
    found = _ORDINARY.match(text)
    if found is None:
        raise KeyError(text)
    return _mailbox(found)


_SHORT = 4000  # LIMIT: characters of a list that is looked up by its pieces
_mailboxes = Remembered(_read_mailbox, 120)
_mailbox_of = _mailboxes.__getitem__


def members_in_python(text: str) -> tuple[Mailbox | Group, ...] | None:
    """The mailboxes of a list in which each is written as most are; None where one is not."""
    if "," not in text:
        if (single := _ORDINARY.match(text)) is not None:
            return (_mailbox(single),)
    elif len(text) < _SHORT:
        try:  # those who are written to together come again and again
            return tuple(map(_mailbox_of, text.split(",")))
        except KeyError:  # a comma inside quotation marks or a comment leaves pieces that are no mailboxes
            pass
    return _ordinary(text)


_quick_members = None if native.MailboxReader is None else native.MailboxReader(Mailbox, _shown)


def _ordinary(text: str) -> tuple[Mailbox | Group, ...] | None:
    """The mailboxes of a list in which each is written as most are; None where one is not."""
    members: list[Mailbox | Group] = []
    position, length = 0, len(text.rstrip())
    match = _ORDINARY.match
    while position < length:
        found = match(text, position)
        if found is None:
            return None
        members.append(_mailbox(found))
        position = found.end()
    return tuple(members)


def _parse_any(body: bytes) -> AddressList:
    defects: list[Defect] = []
    text = read_text(body, defects)
    if (members := None if text.isascii() else _ordinary(text)) is not None:  # names above ASCII in quotation marks
        return _make_list(members, tuple(defects))
    reader = _Reader(text, len(body), defects)
    return _make_list(tuple(reader.read()), tuple(reader.defects))


class _Reader:
    """One pass over the tokens; collects words until a special says what they were."""

    def __init__(self, text: str, size: int, defects: list[Defect]) -> None:
        self.text = text
        self.size = size  # in octets
        self.defects = defects
        self.members: list[Mailbox | Group] = []
        self.group: str | None = None
        self.group_members: list[Mailbox] = []
        self.words: list[Token] = []  # since the last separator
        self.angle: list[Token] | None = None  # between "<" and ">"
        self.has_at = False  # whether there is an "@" among the words, or inside the angle brackets
        self.name: str | None = None  # the phrase before "<"
        self.comments: list[Token] = []
        self.last: int = -1  # whether something was emitted since the last separator, and where it ended
        self.opened = 0  # where the angle brackets open
        self.loose: str | None = None  # words without an address before a comma: perhaps half a name
        self.loose_name: str | None = None  # the comment behind them, their name where they are a local part
        self.is_loose_name = False  # whether they are no address: they have blanks, or are encoded (RFC 2047 5)

    def read(self) -> list[Mailbox | Group]:
        broken: list[tuple[str, int]] = []
        limit = DEFAULT_LIMITS.address_count
        for token in tokens(self.text, broken):
            kind = token.kind
            if kind is SPECIAL:
                self._special(token)
                if len(self.members) + len(self.group_members) >= limit:
                    self._defect("limit-address-count", token.start)
                    self.words, self.angle = [], None
                    break
            elif kind is COMMENT:
                self.comments.append(token)
            elif self.angle is not None:
                self.angle.append(token)
            else:
                self.words.append(token)
        if self.angle is not None:
            self._defect("invalid-address", len(self.text), "a \">\" is missing")
            self._close_angle(len(self.text))
        self._separate(";", len(self.text))
        if self.group is not None:
            self._close_group()
        for code, position in broken:
            self._defect(code, position)
        return self.members

    def _defect(self, code: str, position: int, detail: str = "") -> None:
        if len(self.defects) < 100:  # a megabyte of trouble needs no megabyte of complaints
            self.defects.append(Defect(code, octets_before(self.text, position, self.size), detail))

    def _special(self, token: Token) -> None:
        sign = token.text
        if self.angle is not None:
            self._special_in_angle(token, sign)
        elif sign == "@":
            self.words.append(token)
            self.has_at = True
        elif sign == "<":
            self.name = phrase_text(self.text, self.words) if self.words else None
            if self.words and self.last >= 0:
                self._defect("invalid-address", token.start, "a comma is missing")
            self.words, self.angle, self.has_at, self.opened = [], [], False, token.start
        elif sign == ",":
            self._separate(",", token.start)
            if token.end - token.start > 1:
                self._flush_loose()
        elif sign == ";":
            self._separate(";", token.start)
            if self.group is not None:
                self._close_group()
        elif sign == ":":
            self._colon(token)
        else:
            self._defect("invalid-address", token.start, "a \">\" closes nothing")

    def _special_in_angle(self, token: Token, sign: str) -> None:
        assert self.angle is not None
        angle = self.angle
        if sign == ">":
            self._close_angle(token.end)
        elif sign == "@":
            angle.append(token)
            self.has_at = True
        elif sign == "<":
            # QUIRK: "<<a@b>>", and "<a@b <c@d>" where the first is not closed.
            self._defect("invalid-address", token.start, "a \"<\" inside angle brackets")
            if self.has_at:
                self._close_angle(token.start)
                self.name, self.angle, self.has_at = None, [], False
        elif sign == ":":
            if angle and angle[0].text == "@":
                self._defect("obsolete-address", angle[0].start, "a source route")
                angle.clear()
                self.has_at = False
            elif len(angle) == 1 and angle[0].text.lower() == "mailto":
                angle.clear()
            else:
                angle.append(token)
        elif angle and angle[0].text == "@":  # a list of hosts: a source route goes on
            return
        elif angle:
            # QUIRK: "<a@b, c@d>" are two addresses.
            self._close_angle(token.start)
            if sign == ";":
                self._separate(";", token.start)
            else:
                self.last = -1

    def _colon(self, token: Token) -> None:
        words = self.words
        if not words:
            self._defect("invalid-address", token.start, "a colon after nothing")
        elif words[0].text == "@" and words[0].kind is SPECIAL:
            self._defect("obsolete-address", words[0].start, "a source route")
            words.clear()
            self.has_at = False
        elif self.has_at:
            words.append(token)
        else:
            name = phrase_text(self.text, words)
            words.clear()
            if name is not None and name.lower() == "mailto":
                self._defect("invalid-address", token.start, "mailto: is no part of an address")
                return
            if self.group is not None:
                self._close_group()
            self._flush_loose()
            self.group = name or ""
            self.comments.clear()

    def _close_group(self) -> None:
        self._flush_loose()
        self.members.append(Group(self.group or "", tuple(self.group_members)))
        self.group, self.group_members = None, []

    def _emit(self, name: str | None, address: str, end: int) -> None:
        if name is None and self.comments:
            behind = [each for each in self.comments if each.start >= end]
            name = self._comment_name((behind or self.comments)[0].text)
        mailbox = _make_mailbox(name, address)
        (self.members if self.group is None else self.group_members).append(mailbox)
        self.last = end

    @staticmethod
    def _comment_name(text: str) -> str | None:
        return decode_phrase(" ".join(unescape(text).split()))

    def _flush_loose(self) -> None:
        loose, self.loose = self.loose, None
        if loose is not None:
            mailbox = _make_mailbox(loose, "") if self.is_loose_name else _make_mailbox(self.loose_name, loose)
            (self.members if self.group is None else self.group_members).append(mailbox)

    def _close_angle(self, end: int) -> None:
        angle, self.angle, self.has_at = self.angle or [], None, False
        while self.comments and self.comments[-1].start > self.opened:  # inside angle brackets they name nobody
            self.comments.pop()
        name, self.name = self.name, None
        address = address_text(angle)
        if address[-1:] == ":" and "@" not in address:
            # QUIRK: "<undisclosed-recipients:;>"
            self._defect("invalid-address", end, one_line(address))
            self._flush_loose()
            self.members.append(Group(address[:-1]))
            return
        if not address.rpartition("@")[0] or address[-1] == "@":
            self._defect("invalid-address", end, one_line(address))
            if not address and name is None:
                self._flush_loose()
                return
        if self.loose is not None:
            if name is not None and self.last < 0:
                # QUIRK: 'Smith, Ann <ann@example.org>' has one unquoted comma in one name.
                name, self.loose = f"{self.loose}, {name}", None
            else:
                self._flush_loose()
        self._emit(name, address, end)

    def _separate(self, sign: str, position: int) -> None:
        """A comma, a semicolon or the end: what do the words since the last separator say?"""
        words, self.words, self.has_at = self.words, [], False
        if words:
            self._flush_words(words, sign, position)
        elif sign == ";" or self.loose is not None:  # "Ann, , Lee <…>": a name has one comma
            self._flush_loose()
        self._late_comment()
        self.comments, self.last = [], -1

    def _late_comment(self) -> None:
        """A comment behind the angle bracket names the mailbox before it."""
        if self.last < 0 or not self.comments:
            return
        where: list[Any] = self.members if self.group is None else self.group_members
        if where and isinstance(where[-1], Mailbox) and where[-1].display_name is None:
            text = next((each.text for each in self.comments if each.start >= self.last), "")
            if name := self._comment_name(text):
                where[-1] = _make_mailbox(name, where[-1].address)

    def _flush_words(self, words: list[Token], sign: str, position: int) -> None:
        runs = runs_of(words)
        if not any(has_at for _, has_at in runs):
            phrase = phrase_text(self.text, words)
            self._defect("invalid-address", words[0].start, one_line(phrase or ""))
            if self.last >= 0 or phrase is None:  # garbage behind an address
                return
            is_whole = self.loose is not None or sign == ";"
            if is_whole:
                self._flush_loose()
            self.loose, self.loose_name = phrase, None
            self.is_loose_name = " " in phrase or any("=?" in token.text for token in words)
            if self.comments and self.comments[-1].start > words[-1].start:
                # QUIRK: "root (Cron Daemon)" has no domain.
                self.loose_name = self._comment_name(self.comments[-1].text)
            if is_whole:
                self._flush_loose()
            return
        self._flush_loose()
        if len(runs) > 1:
            self._defect("invalid-address", words[0].start, "words beside an address without angle brackets")
        name_words: list[Token] = []
        for run, has_at in runs:
            if not has_at:
                name_words += run
                continue
            address = address_text(run)
            if not address:
                continue
            name = phrase_text(self.text, name_words) if name_words else None
            name_words = []
            self._emit(name, address, run[-1].end)
