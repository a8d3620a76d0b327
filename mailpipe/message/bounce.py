"""Bounces without a machine-readable part: who failed, and for good or for now, as far as the text tells.

    notice = read_notice(message)          # None where nothing says that mail came back
    notice.recipients[0].address, notice.recipients[0].action       # "ann@example.org", "failed"

The forms of qmail (QSBMF), old Postfix, Sendmail, Exim, Exchange, Domino and many gateways have this in common: a line
that begins with an address names a recipient, deeper lines below it say why, and a rule or a sentence separates the
returned message. What follows these habits is read; a sentence with an address in it is the second choice.

Never here: machine-readable reports (`report`), which are believed wherever there is one.
"""

import html
import re
from collections.abc import Iterator
from typing import NamedTuple

from mailpipe.codec.charset import decode_text
from mailpipe.message.entity import Entity
from mailpipe.parser.scan import ENCLOSING
from mailpipe.status import EnhancedStatus

# LIMIT: a notice is a page; what stands behind it is the returned message or noise.
_LONGEST = 1 << 16
_MOST = 1000

# Possessive throughout, and no match begins inside a word: linear in the length of the text.
# QUIRK: of the signs that RFC 5322 allows, those that writers of notices put around addresses are left out.
_BARE_ADDRESS = r"[\w!#$%&+/=~-]++(?>(?:\.[\w!#$%&+/=~-]++)*)@[\w-]++(?>(?:\.[\w-]++)+)"
_FREE_ADDRESS = r"(?<![\w!#$%&+/=~.@-])" + _BARE_ADDRESS
_ADDRESS = re.compile(_FREE_ADDRESS)
_DIRECTORY_ADDRESS = re.compile(rf"\bSMTP[:=]({_BARE_ADDRESS})", re.IGNORECASE)

# What stands before the returned message, in a line of its own after rules and blanks.
_RETURNED = re.compile(
    rb"""^[ \t>|*=_-]*+(?:
      (?:below[ ](?:this|the[ ]next)[ ]line|this|here|attachment|included)[ ]is[ ]a[ ]copy
    | a[ ]copy[ ]of[ ]the[ ](?:original[ ])?message
    | (?:--[ ]*+)?the[ ]header(?>(?:s)?)[ ](?:of[ ]the[ ](?:original|returned)|and[ ]top)
    | (?:the[ ])?(?:first|top)[ ]\d++[ ](?:lines|bytes)[ ]of
    | (?:start[ ]of[ ])?(?:your[ ])?(?:the[ ])?(?:original|returned|unsent|undelivered|forwarded|old|rejected)[ ]
      (?:e-?mail|message|mail|text)(?>(?:[ ](?:headers?|text|body))?)
      (?:[ ](?:as[ ]received[ ])?(?:is[ ]as[ ])?(?:follows?|below|attached|details|suppressed)|[-: \t.=_*|]*+\r?$)
    | message[ ](?:headers?|text|body)[ ](?:follows?|suppressed)
    | your[ ]message[ ]reads
    | a[ ]summary[ ]of[ ]the[ ](?:undelivered|unsent|original)
    | mensaje[ ]original|message[ ]d'origine|urspr[^ ]{1,6}nachricht
    | content-type:[ \t]*+message/
    | (?:received|return-path):
    )""",
    re.IGNORECASE | re.MULTILINE | re.VERBOSE,
)

_REPORTER = re.compile(
    r"mailer[-_. ]?daemon|mail[-_. ]?delivery|postmaster|mdaemon|bounce|delivery[-_. ]?(?:subsystem|system|status)"
    r"|delivery[-_. ]?agent|mail[-_. ]?(?:administrator|system|service|server)"
    r"|system administrator|antivirus|imss|ndr|non-?delivery",
    re.IGNORECASE,
)
_FAILURE = re.compile(
    r"\bundeliver(?:able|ed)\b|\breturned mail\b|\breturning (?:mail|message)\b|\breturned to sender\b"
    r"|\bnon.?delivery\b|\bdelivery(?: status notification)?\W{1,3}(?:failure|failed|error|delayed?|warning|problem)"
    r"|\bdel[ei]very to "
    r"|\bfail(?:ed|ure|ing)\b.{0,60}\b(?:mail|message|deliver|notice|recipient|address)"
    r"|\b(?:mail|message|deliver(?:y|ed)?|notice|recipients?|addres\w{0,6}\W{0,3})\b.{0,60}\bfail(?:ed|ure|s)?\b"
    r"|\b(?:not|n't|never|cannot|unable|couldn't|wasn't)\b.{0,40}\b(?:deliver(?:ed|y|able)?|reach(?:ed)?|receiv(?:ed?)|"
    r"accept(?:ed|ing)?|processed)\b"
    r"|\bdid not (?:reach|receive)|\b(?:permanent|fatal|transient|non-fatal) (?:fatal )?(?:delivery )?errors?\b"
    r"|\b(?:unknown|no such|invalid|illegal|disabled) (?:local )?(?:user|recipient|mailbox|address|final delivery)"
    r"|\b(?:user|recipient|mailbox|account)\b.{0,30}\b(?:unknown|full|quota|not found|unavailable|invalid|disabled)"
    r"|\bencountered (?:an error|delivery problems)|\bautomatically rejected\b|\bwas rejected\b|\bdid not exactly match"
    r"|\bhas been (?:delayed|postponed|deferred)|\bno mailbox here\b|\bnot (?:yet )?been delivered\b|\berror detected"
    r"|\berror was detected\b|\bnon (?:remis|delivre)|\bno (?:pudo|pode) ser\b|\bunzustellbar|\bnicht zugestellt",
    re.IGNORECASE,
)
_DELAY = re.compile(
    r"\bnot yet been delivered|\bnot yet received|\bhas (?:not )?been (?:delayed|postponed|deferred)\b"
    r"|\bmessage delayed|\bdelayed (?:mail|\d{1,4} (?:hour|day|minute))|\bdelivery (?:has been )?delayed"
    r"|\bnotification \(delay"
    r"|\bdelivery attempts will (?:continue|be)|\bwill (?:continue|keep|be) (?:to try|trying|retried|retrying|attempt)"
    r"|\bwe will continue to attempt|\bstill (?:being retried|undelivered)|\bthis is (?:just )?an? (?:warning|advisory)"
    r"|\bwarning message only|\b(?:transient|temporary) non-fatal errors|\bdelivery warning",
    re.IGNORECASE,
)
_SECTION = re.compile(r"addresses had permanent fatal errors|addresses had (transient non-fatal) errors", re.IGNORECASE)

# A line that names a recipient: decoration, the address, and nothing that would make a sentence of it.
_LEADING = re.compile(
    r"""([ \t]*+)(?>(?:[>*\[("'=|-]++[ \t]*+)*)<?(?:SMTP:|rfc822;[ ]?)?("""
    + _BARE_ADDRESS
    + r""")(?=[>\])"']*+(?:[ \t]*+\Z|=20|[ \t]*+[:;,(<]|[ \t]++on[ ]|[ \t]++-|[ \t]*+\.\.\.|[ \t]{2}))""",
    re.IGNORECASE,
)
_ORIGINAL = re.compile(r"\((?:expanded|generated) from:?\s*+<?(" + _FREE_ADDRESS + r")>?\)", re.IGNORECASE)
_LABEL = re.compile(
    r"(?:recipient|user(?:id)?|address(?:ed)?|fail(?:ed|ure)?|undeliver(?:able|ed)|error-for|full|attempts|delivered"
    r"|mailbox|to deliver)\b[^:<@\n]{0,60}(?:to|:)[ \t]*+[\[<\"']*+(?:SMTP:|rfc822;[ ]?)?$",
    re.IGNORECASE,
)
_INLINE = re.compile(
    r"(?:\b(?:deliver(?:y|ed|able)?|message|e-?mail|addressed|undeliverable|rejected|violation|gateway|account|sent|full)\b"
    r"[^.!?@]{0,40}\b(?:to|for|of)|\bmailbox|\baddressed,?|\brecipient|\buser|\bRCPT TO:|\b55\d [^\s@]{0,12})\W{0,6}$",
    re.IGNORECASE,
)
_FIELD_LINE = re.compile(r"[ \t*>]*+(?:from|to|cc|bcc|subject|sender|reply-to|date|sent|message-id)[ \t]*+:", re.I)
_TO_LINE = re.compile(r"^[ \t*>]*+to[ \t]*+:[ \t]*+<?(" + _FREE_ADDRESS + ")", re.IGNORECASE | re.MULTILINE)
_BARE_NAME = re.compile(r"following[^:]{0,200}:\s*+([\w.+-]{1,64})(?:[ \t]*+\n|[ \t]{2}|\Z)", re.IGNORECASE)
_ROLE = re.compile(r"(?:postmaster|mailer-daemon|abuse|hostmaster|webmaster|support|help(?:desk)?|mdaemon)@", re.I)
_DAEMON = re.compile(r"mailer-daemon", re.IGNORECASE)
_QSBMF = re.compile(r"^<[^<>@\s]{1,256}@[^<>@\s]{1,256}>:", re.MULTILINE)
_REPLY = re.compile(r"\s*+(?:re|aw|fwd?|wg|tr)\s*+:(?!.*\(delivery fail\w{1,4}\)\s*+\Z)", re.IGNORECASE)
_STATUS = re.compile(r"(?<![\d.])([245])\.(\d{1,3})\.(\d{1,3})(?![\d.])")

_BREAK = re.compile(r"<(?:br|/?p|/?div|/?tr|/?li|/?h\d|/?pre)\b[^<>]{0,200}>", re.IGNORECASE)
# An address in angle brackets is no tag, though it is not well-formed HTML.
_TAG = re.compile(r"<(?![^\s<>@]{1,64}@[^\s<>=]{1,255}>)[^<>]*+>")


class Bounced(NamedTuple):
    """One recipient that a notice names.

    Attributes:
        address: as written.
        original: the address that was expanded to this one, "" where none is named.
        action: "failed" or "delayed" (RFC 3464 section 2.3.3).
        status: the first enhanced status among the reasons, None where there is none.
        reason: what the notice says about this recipient, "" where it says nothing.
    """

    address: str
    original: str
    action: str
    status: EnhancedStatus | None
    reason: str


class Notice(NamedTuple):
    """What a notice says.

    Attributes:
        text: the notice, without the returned message.
        recipients: whom it names, in order, each once; () where it names nobody.
        returned: the octets of the returned message, where they follow the notice in the same part.
    """

    text: str
    recipients: tuple[Bounced, ...]
    returned: bytes


def read_notice(message: Entity) -> Notice | None:
    """What a bounce says about its recipients; None where the message does not look like a bounce.

    Linear in the length of the message; of a notice the first 64 KiB are read. Never raises.
    """
    subject = message.header.get("subject", "") or ""
    if not _may_report(message, subject):
        return None
    text, returned = _notice_text(message)
    flowing = f"{subject} {' '.join(text.split())}"
    is_daemon = _DAEMON.search(message.header.get("from", "") or "") is not None
    if not _FAILURE.search(flowing) and not (is_daemon and _QSBMF.search(text)):
        return None
    own = _own_addresses(message)
    default = "delayed" if _DELAY.search(flowing) else "failed"
    lines = list(_from_lines(text, default))
    reasons = {one.address.lower(): one for one in lines}
    found = [
        reasons.get(address.lower(), Bounced(address, "", default, None, ""))
        for address in _ADDRESS.findall(message.header.get("x-failed-recipients", "") or "")
    ]
    found = found or [one for one in lines if one.reason or not _ROLE.match(one.address)]
    if not found:
        made = (address for address in _from_sentences(text) if address.lower() not in own)
        found = [Bounced(address, "", default, _status_in(text), "") for address in made if not _ROLE.match(address)]
    if not found:
        found = [Bounced(address, "", default, _status_in(text), "") for address in _last_resort(message, text)]
    once = {one.address.lower(): one for one in reversed(found[:_MOST])}
    return Notice(text, tuple(reversed(once.values())), returned)


def _may_report(message: Entity, subject: str) -> bool:
    """Whether it comes from a mail system or says in its subject that mail came back; people quote bounces too."""
    header = message.header
    sender = " ".join(header.get(name, "") or "" for name in ("from", "sender"))
    path = header.get("return-path")
    return (
        "x-failed-recipients" in header
        or (path is not None and path.strip() in ("<>", ""))
        or message.content_type.value == "multipart/report"
        or _REPORTER.search(sender) is not None
        or (header.get("auto-submitted", "") or "").lower().startswith("auto-")
        or (_FAILURE.search(subject) is not None and not _REPLY.match(subject))
    )


def _own_addresses(message: Entity) -> frozenset[str]:
    """Who wrote the bounce, and to whom."""
    fields = (message.header.get(name, "") or "" for name in ("from", "to", "sender", "errors-to", "delivered-to"))
    return frozenset(address.lower() for field in fields for address in _ADDRESS.findall(field))


# -- the notice


def _notice_text(message: Entity) -> tuple[str, bytes]:
    """The text before the returned message, and what follows it in the same part."""
    leaf = _notice_part(message)
    if leaf is None:
        return "", b""
    octets = leaf.octets
    if leaf.content_type.subtype == "html":
        text = _BREAK.sub("\n", decode_text(octets[: 4 * _LONGEST], leaf.content_type.charset).text)
        text = html.unescape(_TAG.sub("", text)).replace("\xa0", " ")
        marked = _RETURNED.search(text.encode("utf-8", "replace"))
        return text[: len(text) if marked is None else _characters(text, marked.start())][:_LONGEST], b""
    marked = _RETURNED.search(octets, 0, min(len(octets), 4 * _LONGEST))
    end = min(len(octets) if marked is None else marked.start(), _LONGEST)
    text = decode_text(octets[:end], leaf.content_type.charset).text
    returned = b"" if marked is None else _behind(octets, marked)
    return text.replace("\r\n", "\n").replace("\r", "\n"), returned


def _characters(text: str, octets: int) -> int:
    return len(text.encode("utf-8", "replace")[:octets].decode("utf-8", "ignore"))


def _notice_part(message: Entity) -> Entity | None:
    """The first text in plain, else the first in HTML, before any message that is enclosed."""
    second: Entity | None = None
    stack = [message]
    while stack:
        entity = stack.pop()
        kind = entity.content_type
        if entity.is_multipart:
            if not entity.parts:
                return entity  # its boundary does not occur: everything is text
            stack.extend(reversed(entity.parts))
        elif kind.value in ENCLOSING:
            continue
        elif kind.type == "text" and kind.subtype not in ("rfc822-headers", "calendar"):
            if kind.subtype != "html":
                return entity
            second = second or entity
    return second


def _behind(octets: bytes, marked: re.Match[bytes]) -> bytes:
    """The returned message behind its mark; a mark that is its first field belongs to it."""
    if re.match(rb"(?:received|return-path):", marked[0], re.I):
        return octets[marked.start() :]
    rest = octets[octets.find(b"\n", marked.end()) + 1 or len(octets) :].lstrip(b" \t\r\n")
    return rest if re.match(rb"[!-9;-~]{1,100}:|>?From ", rest) else b""


# -- its recipients


def _from_lines(text: str, default: str) -> Iterator[Bounced]:
    """The recipients of lines that begin with an address, each with the deeper lines below it."""
    action, current, depth = default, "", 0
    reason: list[str] = []

    def made() -> Bounced:
        words = " ".join(" ".join(reason).split())
        original = _ORIGINAL.search(words)
        return Bounced(current, original[1] if original else "", action, _status_in(words), words[:2000])

    count = 0
    for line in text.split("\n"):
        if section := _SECTION.search(line):
            if current:
                yield made()
                current = ""
            action = "delayed" if section[1] else "failed"
        found = _LEADING.match(line)
        if current and (not line.strip() or (found is not None and len(found[1]) <= depth)):
            yield made()
            current, count = "", count + 1
            if count >= _MOST:
                return
        if current:
            reason.append(line)
            continue
        if found is None and not _FIELD_LINE.match(line):
            found = _DIRECTORY_ADDRESS.search(line)
            if found is not None:
                current, depth, reason = found[1], 0, []
                continue
        if found is not None:
            current, depth = found[2], len(found[1])
            reason = [line[found.end() :].lstrip("\"'>]:,; \t")]
            continue
        if original := _ORIGINAL.search(line):
            current, depth, reason = original[1], 0, []
    if current:
        yield made()


def _from_sentences(text: str) -> Iterator[str]:
    """The addresses that a label or the words before them call recipients."""
    seen: set[str] = set()
    for line in text.split("\n"):
        for found in _ADDRESS.finditer(line):
            before = line[max(found.start() - 120, 0) : found.start()]
            if _LABEL.search(before) and not _FIELD_LINE.match(line) and found[0].lower() not in seen:
                seen.add(found[0].lower())
                yield found[0]
    flowing = " ".join(text.split())
    for found in _ADDRESS.finditer(flowing):
        before = flowing[max(found.start() - 120, 0) : found.start()]
        if found[0].lower() not in seen and _INLINE.search(before):
            seen.add(found[0].lower())
            yield found[0]


def _last_resort(message: Entity, text: str) -> list[str]:
    """Who is meant where no address is called a recipient.

    The recipient of the message that the notice quotes; a local part alone, in the domain of the reporter.
    """
    if quoted := _TO_LINE.search(text):
        return [quoted[1]]
    bare = _BARE_NAME.search(text)
    reporter = _ADDRESS.search(message.header.get("from", "") or "")
    if bare is not None and reporter is not None:
        return [f"{bare[1]}@{reporter[0].rpartition('@')[2].lower()}"]
    return []


def _status_in(text: str) -> EnhancedStatus | None:
    found = _STATUS.search(text)
    return None if found is None else EnhancedStatus(int(found[1]), int(found[2]), int(found[3]))
