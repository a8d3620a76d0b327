"""Trace fields: Received and Return-Path, what each host writes on top (RFC 5321 section 4.4, RFC 5322 3.6.7).

    hop = trace.parse_received(b" from a.example (a [192.0.2.1]) by b.example with ESMTP id 7; Fri, 21 Nov ...")
    hop.from_, hop.ip, hop.by, hop.with_, hop.date
    trace.parse_return_path(b" <ann@example.org>").address

The clauses of Received are read in whatever order they stand; RFC 5322 asks for nothing but words and a date.

Never here: judgement of a route.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime

from mailpipe import native
from mailpipe.defect import Defect
from mailpipe.fields import address, date, hop
from mailpipe.fields.value import FieldValue, Remembered, one_line, read_text
from mailpipe.frozen import quick_maker, twin_of

_SIGN = r"[^ ;()<>\"]"
_HOST = r"([^ ;,()<>\"]++)"
_INSIDE = r"\(([^()\\]*+(?>(?:\([^()\\]*+\)[^()\\]*+)*))\)"
_COMMENT = r"\([^()\\]*+(?>(?:\([^()\\]*+\)[^()\\]*+)*)\)"
_RUN = rf"(?>(?: *+{_COMMENT})*)"
_COMMENTS = rf"{_RUN} *+"
# An ordinary hop is cut before its identifier: what hosts write about themselves comes again and again.
_HEAD = re.compile(
    rf" *+(?:{_COMMENT} *+)?"
    rf"(?:from ++({_SIGN}++(?>(?: ++(?!by\b|\[){_SIGN}++)*))? *+(?:(\[[0-9A-Fa-f:.]++\])|{_INSIDE})?{_COMMENTS})?"
    rf"(?:by ++{_HOST} *+(?:{_INSIDE})?{_COMMENTS})?"
    rf"(?:via ++{_HOST} *+)?"
    rf"(?:with ++({_SIGN}++(?>(?: ++(?!(?:id|for|via|as)\b){_SIGN}++)*)){_COMMENTS})?"
    rf"(?:for ++<?{_HOST}>?{_COMMENTS})?"
)
# what may stand between the identifier and the semicolon
_REST = re.compile(rf"({_RUN}) *+(?:for ++<?{_HOST}>?({_RUN}) *+)?\Z")
_TAIL = re.compile(rf"(?: id ++<?{_HOST}>?({_RUN}) *+(?:for ++<?{_HOST}>?({_RUN}) *+)?)?;")
_ID = re.compile(rf"<?({_SIGN}++)>?\Z")
_EVERY_COMMENT = re.compile(_INSIDE)
_V4 = r"[0-9]{1,3}(?:\.[0-9]{1,3}){3}"
_V6 = r"[0-9A-F:.]{0,40}:[0-9A-F:.]{0,40}"
# "[192.0.2.1]", "[192.0.2.1:25]", "ann@192.0.2.1", "192.0.2.1:25", "2001:db8::1", "fe80::1%4"
_IP = re.compile(
    rf"\[(?:IPv6:)?({_V4}|{_V6})(?:%[0-9A-Z]{{1,15}})?(?:[.:][0-9]{{1,5}})?\]|(?:^|@) *({_V4})(?::[0-9]{{1,5}})?$"
    rf"|^(?=[^.]*::|(?:[^:]*:){{7}})({_V6})(?:%[0-9A-Z]{{1,15}})?$",
    re.IGNORECASE,
)
_CLAIM = re.compile(r"(?:^|[ (])(?:HELO|EHLO)[ =]", re.IGNORECASE)
_SHORT = 65_536  # LIMIT: no host writes more about one hop; the rest is not read


@dataclass(frozen=True, slots=True)
class Received(FieldValue):
    """One hop (RFC 5321 section 4.4). Every text is None where its clause is missing.

    Attributes:
        from_: the name that the client gave.
        from_comment: what the server found out about the client: "a.example [192.0.2.1]".
        by: the server.
        by_comment: the server's software.
        via: the link.
        with_: the protocol, "ESMTPS".
        id: the server's identifier of the message, without angle brackets.
        for_: the recipient, without angle brackets.
        comments: the other comments in order.
        date: when, aware; None where there is no date.
        defects: what is wrong with the body.
    """

    from_: str | None = None
    from_comment: str | None = None
    by: str | None = None
    by_comment: str | None = None
    via: str | None = None
    with_: str | None = None
    id: str | None = None
    for_: str | None = None
    comments: tuple[str, ...] = ()
    date: datetime | None = None
    defects: tuple[Defect, ...] = field(default=(), compare=False)

    @property
    def ip(self) -> str | None:
        """The address of the client's host, as the server found it out, else as "from" has it; never a HELO's."""
        comments = [_CLAIM.split(text, 1)[0] for text in (self.from_comment, *self.comments) if text]
        for text in (*comments, self.from_):
            if text and (found := _IP.search(text)):
                return found[1] or found[2] or found[3]
        return None

    def render(self) -> bytes:
        """The octets of a composed field's body, not folded."""
        pieces: list[str] = []
        for name, text, note in (
            ("from", self.from_, self.from_comment), ("by", self.by, self.by_comment), ("via", self.via, None),
            ("with", self.with_, None), ("id", self.id, None), ("for", self.for_ and f"<{self.for_}>", None),
        ):  # fmt: skip
            pieces += [name, text] if text else []
            pieces += [f"({note})"] if note else []
        pieces += [f"({text})" for text in self.comments]
        octets = " ".join(pieces).encode("utf-8", "replace")
        return octets + b"; " + date.render(self.date) if self.date is not None else octets


@dataclass(frozen=True, slots=True)
class ReturnPath(FieldValue):
    """The reverse-path that the last server wrote down (RFC 5321 section 4.4).

    Attributes:
        address: "" for the null path "<>".
        defects: what is wrong with the body.
    """

    address: str
    defects: tuple[Defect, ...] = field(default=(), compare=False)

    def __str__(self) -> str:
        return f"<{self.address}>"

    def render(self) -> bytes:
        """The octets of a composed field's body."""
        return f"<{self.address}>".encode("utf-8", "replace")


_make = quick_maker(Received)
_Twin, _new = twin_of(Received), object.__new__
_days, _zones, _from_iso = date.days, date.zones, datetime.fromisoformat
_make_path = quick_maker(ReturnPath)
_ORDINARY_PATH = re.compile(rb"[ \t]*+<([A-Za-z0-9!#$%&'*+/=?^_`{|}~.-]++@[A-Za-z0-9.-]*[A-Za-z0-9])?>[ \t\r\n]*+\Z")


def parse_return_path(body: bytes) -> ReturnPath:
    """The path of a body. Never raises.

    Args:
        body: what follows the colon, folded or not.
    """
    found = _ORDINARY_PATH.match(body)
    if found is not None:
        return _make_path((found[1] or b"").decode("ascii"), ())
    value = address.parse(body[:_SHORT])
    mailboxes = value.mailboxes
    defects = value.defects
    if not body.strip() or len(mailboxes) > 1:
        defects = (*defects, Defect("invalid-address", 0, "a path is one address in angle brackets"))
    return _make_path(mailboxes[0].address if mailboxes else "", defects)


def parse_received(body: bytes) -> Received:
    """The hop of a body. Never raises; linear in its length.

    Args:
        body: what follows the colon, folded or not.
    """
    try:
        text = body.decode("ascii")
    except UnicodeDecodeError:
        return _parse_any(body)
    if "\n" in text:
        text = text.replace("\r", "").replace("\n", "")
    return received_of_text(text, body)


def received_of_text_in_python(text: str, body: bytes | None = None) -> Received:
    """The same for a body that is ASCII and unfolded.

    Args:
        text: the body.
        body: its octets, where there are others.
    """
    # Nearly all hops are cut by blanks and semicolons, and what stands between is looked up: all but the identifier and
    # the clock comes again and again.
    before, _, dated = text.replace("\t", " ").rpartition(";")
    head, has_id, tail = before.partition(" id ")
    known = _heads[head]
    clock = dated.find(":") - 2
    try:  # what `date.of_text` does, without a call for each hop
        moment = _from_iso(_days[dated[:clock]] + dated[clock : clock + 8] + _zones[dated[clock + 8 :]][0])
        is_usual = dated[clock + 5] == ":"
    except (KeyError, ValueError):
        is_usual = False
    if known is None or not is_usual:
        read = moment if is_usual else date.read_moment(dated) if ";" in text else None
        if known is None or read is None:
            return _parse_rare(text, body, dated, read)
        moment = read
    made = _new(_Twin)
    made.from_, made.from_comment, made.by, made.by_comment, made.via, made.with_, for_, comments = known
    if has_id:
        id_, _, rest = tail.lstrip(" ").partition(" ")
        known_rest = _rests[rest]
        if not id_.isalnum():
            found = _ID.match(id_)
            # only the usual way takes an identifier with a comma
            id_ = "" if found is None or (not is_usual and "," in id_) else found[1]
        if known_rest is None or not id_:
            return _parse_rare(text, body, dated, moment)
        own_for, more = known_rest
        made.id, made.for_, made.comments = id_, own_for or for_, comments + more
    else:
        made.id, made.for_, made.comments = None, for_, comments
    made.date, made.defects = moment, ()
    made.__class__ = Received
    return made  # type: ignore[no-any-return]


def _parse_rare(text: str, body: bytes | None, dated: str, moment: datetime | None) -> Received:
    """A hop with its clauses in the usual order, whatever its date; else any.

    Args:
        text: the body.
        body: its octets, where there are others.
        dated: what stands behind its last semicolon.
        moment: the same as a moment.
    """
    can_compose = len(text) < 2000 and "\x1b" not in text and (body is None or _ODD_LINE_END.search(body) is None)
    if body is None:
        body = text.encode("ascii")
    text = text.replace("\t", " ")
    semicolon = text.rfind(";")
    if semicolon < 0:
        return _parse_any(body)
    cut = text.find(" id ", 0, semicolon)
    if 0 <= cut < 40 and not text[:cut].strip(" "):  # the first word, as it is where no blank stands before it
        return _parse_any(body, dated, moment)
    if cut < 0:
        cut = semicolon
    before = text[:cut]
    head = _heads[before] if before.strip(" ") else _read_head(before)
    tail = None if head is None else _TAIL.match(text, cut)
    if head is None or tail is None or tail.end() <= semicolon:
        composed = _compose(text, moment) if can_compose and moment is not None else None
        return composed or _parse_any(body, dated, moment)
    from_, from_comment, by, by_comment, via, with_, for_, comments = head
    id_, more, own_for, rest = tail.groups()
    defects: tuple[Defect, ...] = ()
    if moment is None:
        defects = (Defect("invalid-received", tail.end(), "it has no date"),)
    elif more or rest:
        comments += _comments(f"{more} {rest}")
    return _make(from_, from_comment, by, by_comment, via, with_, id_, own_for or for_, comments, moment, defects)


def _comments(text: str) -> tuple[str, ...]:
    return _unfolded(_EVERY_COMMENT.findall(text))


def _unfolded(comments: list[str]) -> tuple[str, ...]:
    if len(comments) == 1:
        return (" ".join(comments[0].split()),)
    return tuple([" ".join(each.split()) for each in comments])


_Head = tuple[str | None, str | None, str | None, str | None, str | None, str | None, str | None, tuple[str, ...]]


def _read_head(text: str) -> _Head | None:
    """From, its comment, by, its comment, via, with, for, the other comments; None where it takes more thought."""
    found = _HEAD.fullmatch(text)
    if found is None:
        return None
    from_, literal, from_comment, by, by_comment, via, with_, for_ = found.groups()
    comments: tuple[str, ...] = ()
    if text.count("(") > (from_comment is not None) + (by_comment is not None):
        every = _EVERY_COMMENT.findall(text)
        for known in (from_comment, by_comment):
            if known is not None:
                every.remove(known)
        comments = _unfolded(every)
    if "  " in text:  # once a field was folded, and seldom inside of these
        from_, from_comment, by_comment, with_ = map(_plain, (from_, from_comment, by_comment, with_))
    return from_, literal or from_comment, by, by_comment, via, with_, for_, comments


def _plain(text: str | None) -> str | None:
    return " ".join(text.split()) if text is not None and "  " in text else text


def _head_of(text: str) -> _Head | None:
    return _read_head(text) if text.strip(" ") else None


def _read_rest(text: str) -> tuple[str | None, tuple[str, ...]] | None:
    """For and the comments that stand behind the identifier; None where it takes more thought."""
    found = _REST.match(text)
    if found is None:
        return None
    comments, for_, more = found.groups()
    return for_, _comments(f"{comments} {more}") if comments or more else ()


_heads, _rests = Remembered(_head_of, 300), Remembered(_read_rest, 120)
received_of_text: Callable[..., Received] = (
    native.HopReader(Received, _heads, _rests, received_of_text_in_python)
    if native.HopReader is not None
    else received_of_text_in_python
)


def _compose(text: str, moment: datetime) -> Received | None:
    """A hop of a host that writes in a manner of its own, always the same; None where it takes more thought."""
    before, _, dated = text.rpartition(";")
    head, has_id, tail = before.partition(" id ")
    found = _SIMPLE_REST.match(tail) if has_id else None
    if (has_id and found is None) or _SIMPLE_DATE.match(dated) is None:
        return None
    known = _any_heads[head]
    if known is None:
        return None
    from_, from_comment, by, by_comment, via, with_, for_, comments = known
    if found is None:
        is_empty = not (from_ or by or via or with_ or for_)
        return None if is_empty else _make(*known[:6], None, for_, comments, moment, ())
    id_, angle, plain, own_via = found.groups()
    own_for = angle or plain
    if (own_for and for_) or (own_via and via) or _CLAUSE.search(f"{id_} {own_for} {own_via}"):
        return None  # a second clause of one name is none
    return _make(
        from_, from_comment, by, by_comment, own_via or via, with_, id_, own_for or for_, comments, moment, (),
    )  # fmt: skip


def _read_any_head(text: str) -> _Head | None:
    """What the thorough way reads in a head, with an identifier and a date behind it; None where that finds trouble."""
    # several commas or semicolons are one token; a quotation mark or a bracket may have its partner further on
    if len(text) > 300 or _NEVER_ALONE.search(text):
        return None
    mark = "0" * (len(text) + 1)  # which is not in it
    whole = _parse_any(f"{text} id {mark}; 1 Jan 2000 00:00:00 +0000".encode("ascii"))
    if whole.defects or whole.id != mark:
        return None
    return (
        whole.from_, whole.from_comment, whole.by, whole.by_comment, whole.via, whole.with_, whole.for_, whole.comments,
    )  # fmt: skip


_NEVER_ALONE = re.compile(r"[;\"\\]|, *+\Z|\[[^\] ]*+(?: |\Z)")
_any_heads = Remembered(_read_any_head, 300)
_CLAUSE = re.compile(r"\b(?:from|by|via|with|id|for)\b", re.IGNORECASE)
_PLAIN = r"[A-Za-z0-9.@_+=-]++"
_SIMPLE_REST = re.compile(
    rf" *+({_PLAIN}) *+(?:for ++(?:<({_PLAIN})>|({_PLAIN})) *+|via ++([A-Za-z]++(?>(?: [A-Za-z]++)*)) *+)?\Z"
)
# which means the same whatever the blanks in it were before they were unfolded
_SIMPLE_DATE = re.compile(
    r" *+(?:[A-Z][a-z]{2}, *+)?[0-9]{1,2} ++[A-Z][a-z]{2} ++[0-9]{2,4} ++[0-9]{1,2}:[0-9]{2}(?::[0-9]{2})?"
    r"(?: ++(?:[+-][0-9:]{3,5}|(?![AaPp][Mm]\b)[A-Za-z]{1,5}))?(?>(?: *+\([^()\\]*+\))*) *+\Z"
)
_ODD_LINE_END = re.compile(rb"\r(?!\n)|\n(?![ \t]|\Z)")


def _parse_any(body: bytes, known_date: str = "", moment: datetime | None = None) -> Received:
    defects: list[Defect] = []
    text = read_text(body[:_SHORT], defects)
    (known, notes, comments), stop, dated = hop.read(text, defects, len(body))
    if dated != known_date:
        moment = date.read_moment(dated)
    if moment is None:
        defects.append(Defect("invalid-received", stop, "it has no date"))
    if not known:
        defects.append(Defect("invalid-received", 0, one_line(text.strip())))
    get = known.get
    return _make(
        get("from"), notes.get("from"), get("by"), notes.get("by"), get("via"), get("with"), get("id"), get("for"),
        tuple(comments), moment, tuple(defects),
    )  # fmt: skip
