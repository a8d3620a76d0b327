"""What a mail asks of the next hop beyond being taken, and what follows where the peer cannot do it.

    demand_refusal(MailParameters(hold_for=3600), extensions)      # a Reply, or None where the peer can
    demand_parameters(MailParameters(mt_priority=3), extensions)   # (("MT-PRIORITY", "3"),)
    after_waiting(MailParameters(by_time=600), 60, now)            # MailParameters(by_time=540)

A priority, the submitter and a report of lateness are wishes: without the extension the mail goes without them. To be
held, to be returned in time are conditions: without the extension the mail does not go (status 5.3.3). A time is what
is left of it: whoever keeps a mail takes off how long that was.

Never here: DSN, SMTPUTF8 and REQUIRETLS, which `negotiation` weighs with content and connection.
"""

import math
import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from mailpipe.errors import LocalProtocolError
from mailpipe.smtp.envelope import LONGEST, Envelope, MailParameters, Parameters
from mailpipe.smtp.extension import Extensions, parse_moment
from mailpipe.smtp.reply import Reply
from mailpipe.status import EnhancedStatus

_NOT_CAPABLE = EnhancedStatus(5, 3, 3)
_BAD_ARGUMENT = EnhancedStatus(5, 5, 4)  # RFC 4865 section 5: more than the maximum is an error of the argument
_TOO_LATE = EnhancedStatus(5, 4, 7)
REQUIRETLS_NEEDED = EnhancedStatus(5, 7, 30)
"""The next hop does not do what a mail that must travel over TLS asks for (RFC 8689 section 4.2)."""
ENCRYPTION_NEEDED = EnhancedStatus(5, 7, 10)
"""Nor did the connection come to TLS with a peer that has proven who it is (the same section)."""
_SECONDS = re.compile(r"[0-9]{1,9}")
_BY = re.compile(r"([+-]?[0-9]{1,9});([RrNn])([Tt]?)")


def demand_parameters(given: MailParameters, extensions: Extensions) -> Parameters:
    """The parameters of MAIL that say what is asked for, as far as the peer knows them."""
    words = (
        ("AUTH", given.auth_word, "AUTH"),
        ("MT-PRIORITY", None if given.mt_priority is None else str(given.mt_priority), "MT-PRIORITY"),
        ("HOLDFOR", str(given.hold_for) if given.hold_for else None, "FUTURERELEASE"),  # zero is not in the grammar
        ("HOLDUNTIL", given.hold_until, "FUTURERELEASE"),
        ("BY", given.by_word, "DELIVERBY"),
    )
    given_so = {keyword.upper() for keyword, _ in given.parameters}  # the caller's own words
    return tuple(
        (keyword, value)
        for keyword, value, name in words
        if value is not None and name in extensions and keyword not in given_so
    )


def demand_refusal(given: MailParameters, extensions: Extensions) -> Reply | None:
    """Our own refusal where the peer cannot do what the mail insists on, None where it can."""
    raw = {keyword.upper(): value for keyword, value in given.parameters}
    if given.hold_for or given.hold_until is not None or "HOLDFOR" in raw or "HOLDUNTIL" in raw:
        release = extensions.future_release
        if release is None:
            words = "the mail is to be held back (RFC 4865), and the next hop does not offer FUTURERELEASE"
            return _refusal(_NOT_CAPABLE, words)
        asked = None if given.hold_for is None else timedelta(seconds=given.hold_for)
        if asked is not None and release.longest is not None and asked > release.longest:
            words = f"the mail is to be held for {asked}, the next hop holds one for at most {release.longest}"
            return _refusal(_BAD_ARGUMENT, words)
        moment = parse_moment(given.hold_until or "")
        if moment is not None and release.latest is not None and moment > release.latest:
            words = f"the mail is to be held until {moment}, the next hop holds one until {release.latest} at most"
            return _refusal(_BAD_ARGUMENT, words)
    if given.hold_for and given.by_time is not None and given.hold_for > max(given.by_time, 0) + 1:
        # RFC 4865 section 5.2.1; the second is what rounding can take
        words = f"the mail is to be held for {given.hold_for} s and to be delivered within {given.by_time} s"
        return _refusal(_BAD_ARGUMENT, words)
    must_return = (given.by_time is not None and given.by_mode == "R") or ";R" in (raw.get("BY") or "").upper()
    if must_return:
        shortest, left = extensions.deliver_by, given.by_time
        if shortest is None:
            words = "the mail is to be delivered in time or returned (RFC 2852); the next hop does not offer DELIVERBY"
            return _refusal(_NOT_CAPABLE, words)
        if left is not None and left < shortest.total_seconds():
            words = f"{left} s are left to deliver the mail, the next hop asks for {shortest.total_seconds():g} s"
            return _refusal(_TOO_LATE, words)
    return None


def asks_for_tls(given: MailParameters) -> bool:
    """Whether every hop is to use TLS, to a peer that has proven who it is and does the same (RFC 8689)."""
    return given.requiretls or any(keyword.upper() == "REQUIRETLS" for keyword, _ in given.parameters)


def must_use_tls(envelope: Envelope) -> bool:
    """Whether a mail does not go without that; a report goes all the same, or it would be lost (RFC 8689 section 5)."""
    return envelope.reverse_path != "" and asks_for_tls(envelope.parameters)


def late_notice(path_notify: tuple[str, ...], given: MailParameters, extensions: Extensions) -> tuple[str, ...]:
    """What a recipient's NOTIFY is to say, so that lateness is told behind a peer that knows no time either.

    RFC 2852 section 4.1.4.2: where a mail with a time in mode N leaves those who know of it, reports of DSN stand in.
    """
    if extensions.deliver_by is not None or "NEVER" in path_notify or "DELAY" in path_notify:
        return path_notify
    asked = in_fields(given)
    if asked.by_time is None or asked.by_time <= 0 or asked.by_mode != "N":
        return path_notify
    return (*(path_notify or ("FAILURE",)), "DELAY")


def after_waiting(given: MailParameters, waited: float, now: datetime) -> MailParameters | None:
    """What is still asked for when a mail has lain with us, e.g. in a queue (RFC 2852 section 4.1, RFC 4865 section 4).

    Args:
        given: what was asked for when it came.
        waited: seconds since then.
        now: the moment, with a time zone.

    Returns:
        None where the time is over within which it was to be delivered or returned.

    >>> after_waiting(MailParameters(by_time=60, by_mode="N"), 90, datetime.now().astimezone()).by_word
    '-30;N'
    """
    given = in_fields(given)
    hold_for, hold_until, by_time = given.hold_for, given.hold_until, given.by_time
    if hold_for is not None:
        hold_for = max(0, hold_for - int(waited)) or None
    moment = parse_moment(hold_until or "")
    if moment is not None and moment <= now:
        hold_until = None
    if by_time is not None:
        by_time = max(by_time - math.ceil(waited), -LONGEST)
        if given.by_mode == "R" and by_time <= 0:
            return None
    if (hold_for, hold_until, by_time) == (given.hold_for, given.hold_until, given.by_time):
        return given
    return replace(given, hold_for=hold_for, hold_until=hold_until, by_time=by_time)


def in_fields(given: MailParameters) -> MailParameters:
    """The same with HOLDFOR, HOLDUNTIL and BY in fields of their own, where they came as words and can be read."""
    found: dict[str, int | str | bool] = {}
    rest = []
    for keyword, value in given.parameters:
        read = _read(keyword.upper(), value or "")
        found |= read
        if not read:
            rest.append((keyword, value))
    if not found:
        return given
    try:
        return replace(given, parameters=tuple(rest), **found)  # type: ignore[arg-type]  # as _read makes them
    except LocalProtocolError:
        return given


def _read(keyword: str, value: str) -> dict[str, int | str | bool]:
    if keyword == "HOLDFOR" and _SECONDS.fullmatch(value):
        return {"hold_for": int(value)}
    if keyword == "HOLDUNTIL" and (moment := parse_moment(value)) is not None:
        return {"hold_until": moment.astimezone(UTC).isoformat().replace("+00:00", "Z")}
    if keyword == "BY" and (match := _BY.fullmatch(value)):
        return {"by_time": int(match[1]), "by_mode": match[2].upper(), "by_trace": bool(match[3])}
    return {}


def _refusal(status: EnhancedStatus, text: str) -> Reply:
    return Reply(status.reply_code, (text,), status)
