r"""What a sender wants to be told (RFC 3461), from the words of a command line to the parameters of an envelope.

    asking(envelope, notify="failure,delay", ret="hdrs", envid="invoice 7")
    parse_notify("never")                                      # ("NEVER",)
    original_recipient("ann+tag@example.org")                  # "rfc822;ann+2Btag@example.org"

Never here: what becomes of it at a peer (`negotiation`), reports themselves.
"""

import re
from collections.abc import Sequence
from dataclasses import replace

from mailpipe.errors import LocalProtocolError
from mailpipe.smtp.envelope import Envelope
from mailpipe.smtp.xtext import encode_xtext

MAX_ENVID = 100
"""LIMIT: characters of an envelope identifier, encoded (RFC 3461 section 4.4)."""
_KINDS = ("SUCCESS", "FAILURE", "DELAY")
_EMBEDDED = re.compile(r"[^\x21-\x2a\x2c-\x3c\x3e-\x5b\x5d-\x7e]")  # RFC 6533 section 3: QCHAR, negated
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")


def parse_notify(text: str) -> tuple[str, ...]:
    """The words of NOTIFY from "failure,delay" or "never", in capitals (RFC 3461 section 4.1).

    Raises:
        LocalProtocolError: a word is none of them, or NEVER is not alone.
    """
    words = tuple(dict.fromkeys(word.strip().upper() for word in text.split(",")))
    if words != ("NEVER",) and (not words or any(word not in _KINDS for word in words)):
        raise LocalProtocolError(f"{text[:80]!a} is neither never nor any of success, failure, delay")
    return words


def parse_ret(text: str) -> str:
    """FULL or HDRS, in capitals (RFC 3461 section 4.3).

    Raises:
        LocalProtocolError: it is neither.
    """
    if text.upper() not in ("FULL", "HDRS"):
        raise LocalProtocolError(f"{text[:80]!a} is neither full nor hdrs")
    return text.upper()


def envelope_identifier(text: str) -> str:
    """ENVID from any text (RFC 3461 section 4.4), by which the sender knows the mail again in a report.

    Raises:
        LocalProtocolError: it is empty, too long, or holds what is not printable.
    """
    if not text.isascii() or _CONTROL.search(text):
        raise LocalProtocolError(f"{text[:80]!a}: an envelope identifier is printable ASCII")
    word = encode_xtext(text)
    if not 0 < len(word) <= MAX_ENVID:
        raise LocalProtocolError(f"an envelope identifier has 1 to {MAX_ENVID} characters, this one {len(word)}")
    return word


def original_recipient(address: str) -> str:
    """ORCPT from the address that the sender wrote (RFC 3461 section 4.2; beyond ASCII, RFC 6533 section 3).

    Raises:
        LocalProtocolError: it holds a control character, or is too long.
    """
    if _CONTROL.search(address) or not 0 < len(address) <= 320:
        raise LocalProtocolError(f"{address[:80]!a} cannot be an original recipient")
    if address.isascii():
        return f"rfc822;{encode_xtext(address)}"
    return "utf-8;" + _EMBEDDED.sub(lambda found: f"\\x{{{ord(found[0]):02X}}}", address)


def asking(
    envelope: Envelope,
    *,
    notify: str | None = None,
    ret: str | None = None,
    envid: str | None = None,
    original_recipients: Sequence[str] = (),
) -> Envelope:
    """The envelope with what its sender wants to be told.

    Args:
        envelope: from whom, to whom.
        notify: "never", or any of "success", "failure", "delay", with commas; None or "" for nothing said.
        ret: "full" or "hdrs", what of the message comes back with a failure; likewise.
        envid: what the sender knows the mail by; likewise.
        original_recipients: what each recipient was called at first, in order, "" where it was not called otherwise.

    Raises:
        LocalProtocolError: a value is none, or there are not as many original recipients as recipients.

    >>> asking(Envelope.of("a@x.test", "b@x.test"), notify="delay,failure").forward_paths[0].notify
    ('DELAY', 'FAILURE')
    """
    paths = envelope.forward_paths
    if original_recipients and len(original_recipients) != len(paths):
        words = f"{len(original_recipients)} original recipients for {len(paths)} recipients"
        raise LocalProtocolError(f"{words}; give one for each, in the same order")
    if notify:
        told = parse_notify(notify)
        paths = tuple(replace(path, notify=told) for path in paths)
    if original_recipients:
        paths = tuple(
            replace(path, orcpt=original_recipient(original)) if original else path
            for path, original in zip(paths, original_recipients, strict=True)
        )
    parameters = envelope.parameters
    if ret:
        parameters = replace(parameters, ret=parse_ret(ret))
    if envid:
        parameters = replace(parameters, envid=envelope_identifier(envid))
    return replace(envelope, forward_paths=paths, parameters=parameters)
