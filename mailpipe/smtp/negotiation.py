"""What an envelope and a message become for one peer: the commands of a transaction, chosen by the peer's extensions.

    plan = plan_transaction(envelope, octets, extensions)
    plan.mail.octets, [rcpt.octets for _, rcpt in plan.rcpts], plan.refusals

What the peer could only misunderstand is refused here, for the recipients whom it concerns, before anything is sent.

Never here: conversion of messages. Whoever writes the octets asks the extensions first; this is the last check.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

from mailpipe.errors import LocalProtocolError
from mailpipe.frozen import quick_maker
from mailpipe.smtp.command import Mail, Rcpt
from mailpipe.smtp.demand import (
    ENCRYPTION_NEEDED,
    REQUIRETLS_NEEDED,
    asks_for_tls,
    demand_parameters,
    demand_refusal,
    late_notice,
    must_use_tls,
)
from mailpipe.smtp.envelope import NO_MAIL_PARAMETERS, Envelope, ForwardPath, MailParameters, Parameters
from mailpipe.smtp.extension import Extensions
from mailpipe.smtp.path import AddressSpec, path_octets
from mailpipe.smtp.reply import Reply
from mailpipe.smtp.transparency import chunk_content, encode_content, is_crlf_only
from mailpipe.status import EnhancedStatus

# Parameters that we only pass on, and the extension that allows each.
_EXTENSION_OF = {
    "AUTH": "AUTH",
    "BY": "DELIVERBY",
    "HOLDFOR": "FUTURERELEASE",
    "HOLDUNTIL": "FUTURERELEASE",
    "MT-PRIORITY": "MT-PRIORITY",
    "SOLICIT": "NO-SOLICITING",
}


EAGER_SIZE = 1 << 20
"""LIMIT: octets of a message that goes by BDAT before anybody is known to want it; a larger one waits for that."""


@dataclass(slots=True)  # one a message: frozen it takes four times as long to make
class TransactionPlan:
    """The commands and the content of one transaction.

    Attributes:
        mail: the MAIL command.
        rcpts: place in the envelope and RCPT command of each recipient whom the peer is asked about.
        refusals: place in the envelope → our own refusal of a recipient whom it is not asked about.
        content: what follows the reply to DATA, end of data included, or the one piece of BDAT.
        is_chunked: the content goes by BDAT.
        is_eager: and it goes behind RCPT at once, where the peer takes several commands in flight.
        octets: MAIL and every RCPT as they go over the wire.
    """

    mail: Mail
    rcpts: tuple[tuple[int, Rcpt], ...]
    refusals: Mapping[int, Reply]
    content: bytes
    is_chunked: bool = False
    is_eager: bool = False
    octets: bytes = b""


class Planner:
    """Makes the plans of one session; what the peer offers is looked up once.

    Attributes:
        extensions: what the peer offers.
        verified: the connection has TLS, and the peer has proven to be who it should be.
    """

    __slots__ = ("_binary", "_chunks", "_eager", "_limit", "_sized", "_utf8", "extensions", "verified")

    def __init__(self, extensions: Extensions, *, verified: bool = False) -> None:
        self.extensions, self.verified = extensions, verified
        size = extensions.size
        self._sized, self._limit = size is not None, size or 0
        self._utf8 = extensions.smtputf8
        self._chunks, self._binary = extensions.chunking, extensions.binarymime
        self._eager = extensions.pipelining

    def plan(self, envelope: Envelope, octets: bytes, *, chunking: bool = False) -> TransactionPlan:
        """Choose the commands; see `plan_transaction`."""
        # Without BINARYMIME a bare CR or LF is refused; a NUL passes, as it always did.
        binary = self._binary and (not is_crlf_only(octets) or b"\0" in octets)
        chunked = binary or (chunking and self._chunks)
        eager = chunked and chunking and self._eager and len(octets) <= EAGER_SIZE
        smtputf8 = self._utf8 and _needs_smtputf8(envelope, octets)
        body = "BINARYMIME" if binary else None if octets.isascii() else "8BITMIME"
        given = envelope.parameters
        asks_nothing = given is NO_MAIL_PARAMETERS or given == NO_MAIL_PARAMETERS
        is_usual = body is None and not smtputf8 and asks_nothing
        if is_usual and not 0 < self._limit < len(octets):
            mail, mail_octets, whole = self._usual_mail(envelope.reverse_path, len(octets))
        else:
            extensions = self.extensions
            parameters = _mail_parameters(envelope, extensions, len(octets), body, smtputf8)
            if not self.verified and asks_for_tls(given):  # RFC 8689 section 2: never where it is not kept
                parameters = tuple(pair for pair in parameters if pair[0].upper() != "REQUIRETLS")
            mail = Mail(envelope.reverse_path, parameters)
            mail_octets, whole = _whole_refusal(envelope, mail, octets, extensions, body, self.verified)
        if whole is not None or not envelope.forward_paths:
            refused = {} if whole is None else dict.fromkeys(range(len(envelope.forward_paths)), whole)
            return TransactionPlan(mail, (), refused, b"")
        rcpts: list[tuple[int, Rcpt]] = []
        pieces = [mail_octets]
        refusals = {}
        for place, path in enumerate(envelope.forward_paths):
            try:
                if path.notify or path.orcpt or path.parameters or not asks_nothing:
                    rcpt = Rcpt(path.address, _rcpt_parameters(path, given, self.extensions), smtputf8)
                    line = rcpt.octets
                else:
                    rcpt, line = _usual_rcpt(path.address, smtputf8)
            except LocalProtocolError as error:
                refusals[place] = _local(error.status, str(error))
            else:
                rcpts.append((place, rcpt))
                pieces.append(line)
        content = b""
        if rcpts:
            content = octets if binary else chunk_content(octets) if chunked else encode_content(octets)
        return TransactionPlan(mail, tuple(rcpts), refusals, content, chunked, eager, b"".join(pieces))

    def _usual_mail(self, reverse_path: str, size: int) -> tuple[Mail, bytes, Reply | None]:
        """MAIL with no parameter but SIZE."""
        mail = _mail(reverse_path, (("SIZE", str(size)),) if self._sized else ())
        try:
            path = path_octets(reverse_path)
        except LocalProtocolError as error:
            return mail, b"", _bad_reverse_path(error)
        # RFC 1870 section 6.1: the size before transparency
        return mail, b"MAIL FROM:%b SIZE=%d\r\n" % (path, size) if self._sized else b"MAIL FROM:%b\r\n" % path, None


def plan_transaction(
    envelope: Envelope, octets: bytes, extensions: Extensions, *, verified: bool = False, chunking: bool = False
) -> TransactionPlan:
    """Choose the commands.

    Args:
        envelope: from whom, to whom.
        octets: the message with CRLF as its only line end, unless it is to go as BINARYMIME.
        extensions: what the peer offers.
        verified: the connection has TLS, and the peer has proven to be who it should be.
        chunking: use BDAT where it is offered (RFC 3030), not only where it must be.

    Raises:
        LocalProtocolError: the message holds a bare CR or LF and cannot go as BINARYMIME.
    """
    return Planner(extensions, verified=verified).plan(envelope, octets, chunking=chunking)


_mail = quick_maker(Mail)


@lru_cache(4096)
def _usual_rcpt(address: str, smtputf8: bool) -> tuple[Rcpt, bytes]:
    rcpt = Rcpt(address, (), smtputf8)
    return rcpt, rcpt.octets


def _local(status: EnhancedStatus, text: str) -> Reply:
    return Reply(status.reply_code, (text,), status)


def _needs_smtputf8(envelope: Envelope, octets: bytes) -> bool:
    if has_utf8_header(octets) or _is_utf8_address(envelope.reverse_path):
        return True
    return any(_is_utf8_address(path.address) for path in envelope.forward_paths)


def has_utf8_header(octets: bytes) -> bool:
    """Whether the header is one of RFC 6532.

    QUIRK: a header in an undeclared charset of the nineties is no UTF-8, and SMTPUTF8 would be a lie about it.
    """
    if octets.isascii():
        return False
    end = octets.find(b"\r\n\r\n")
    header = octets if end < 0 else octets[:end]
    if header.isascii():
        return False
    try:
        header.decode()
    except UnicodeDecodeError:
        return False
    return True


def _is_utf8_address(address: str) -> bool:
    if address.isascii():
        return False
    try:
        return AddressSpec.parse(address).needs_smtputf8
    except LocalProtocolError:
        return False


def _mail_parameters(
    envelope: Envelope, extensions: Extensions, size: int, body: str | None, smtputf8: bool
) -> Parameters:
    given = envelope.parameters
    chosen: list[tuple[str, str | None]] = []
    if extensions.size is not None:
        chosen.append(("SIZE", str(size)))  # RFC 1870 section 6.1: before transparency
    if body is not None and extensions.eightbitmime:
        chosen.append(("BODY", body))
    if smtputf8:
        chosen.append(("SMTPUTF8", None))
    if extensions.dsn:
        if given.ret:
            chosen.append(("RET", given.ret))
        if given.envid:
            chosen.append(("ENVID", given.envid))
    if given.requiretls and extensions.requiretls:
        chosen.append(("REQUIRETLS", None))
    chosen += demand_parameters(given, extensions)
    return (*chosen, *_allowed(given.parameters, extensions))


def _rcpt_parameters(path: ForwardPath, given: MailParameters, extensions: Extensions) -> Parameters:
    chosen: list[tuple[str, str | None]] = []
    if extensions.dsn:
        if notify := late_notice(path.notify, given, extensions):
            chosen.append(("NOTIFY", ",".join(notify)))
        if path.orcpt:
            chosen.append(("ORCPT", path.orcpt))
    return (*chosen, *_allowed(path.parameters, extensions))


def _allowed(parameters: Parameters, extensions: Extensions) -> Parameters:
    return tuple(pair for pair in parameters if _EXTENSION_OF.get(pair[0].upper(), pair[0].upper()) in extensions)


def _whole_refusal(
    envelope: Envelope, mail: Mail, octets: bytes, extensions: Extensions, body: str | None, verified: bool
) -> tuple[bytes, Reply | None]:
    """The octets of MAIL, and why the transaction cannot be had at all, or None."""
    try:
        line = mail.octets
    except LocalProtocolError as error:
        return b"", _bad_reverse_path(error)
    if envelope.parameters.smtputf8 and not extensions.smtputf8 and has_utf8_header(octets):
        words = "the header needs SMTPUTF8 (RFC 6531), which the next hop does not offer"
        return line, _local(EnhancedStatus(5, 6, 7), words)
    if extensions.size and len(octets) > extensions.size:
        words = f"the message has {len(octets)} octets, the next hop takes at most {extensions.size}"
        return line, _local(EnhancedStatus(5, 3, 4), words)
    if body is not None and not extensions.eightbitmime:
        words = "the message holds 8-bit octets, and the next hop does not offer 8BITMIME; re-encode it to 7bit"
        return line, _local(EnhancedStatus(5, 6, 3), words)
    if must_use_tls(envelope) and not (verified and extensions.requiretls):
        lacks = "does not offer REQUIRETLS" if verified else "was not proven to be the right one, over TLS"
        words = f"the mail must travel over TLS on every hop (RFC 8689), and the next hop {lacks}"
        return line, _local(REQUIRETLS_NEEDED if verified else ENCRYPTION_NEEDED, words)
    return line, demand_refusal(envelope.parameters, extensions)


def _bad_reverse_path(error: LocalProtocolError) -> Reply:
    utf8 = error.status == EnhancedStatus(5, 6, 7)
    return _local(error.status if utf8 else EnhancedStatus(5, 1, 7), f"reverse-path: {error}")
