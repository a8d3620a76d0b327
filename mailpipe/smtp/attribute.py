"""The attributes of XCLIENT and XFORWARD as Postfix's XCLIENT_README and XFORWARD_README define them.

    attributes_text((("ADDR", "2001:db8::7"), ("NAME", None)))       # "ADDR=IPV6:2001:db8::7 NAME=[UNAVAILABLE]"
    parse_attributes("ADDR=IPV6:2001:db8::7 NAME=[UNAVAILABLE]")      # undoes it
    client_attributes(envelope.client)                                # (("NAME", …), ("ADDR", …), …)

Never here: the commands (`command`), and when they are given (`opening`).
"""

import re
from ipaddress import ip_address

from mailpipe.errors import LocalProtocolError
from mailpipe.smtp.envelope import Client, Parameters
from mailpipe.smtp.xtext import decode_xtext, encode_xtext

MAX_LINE = 512
"""Octets of one command, line end included; with more to say there are several commands (XCLIENT_README, note 1)."""
MAX_VALUE = 255
"""Characters of one value before the encoding."""

_NAME = re.compile(r"[A-Z](?:[A-Z_]*+)")
_ADDRESSES = frozenset({"ADDR", "DESTADDR"})
_PORTS = frozenset({"PORT", "DESTPORT"})
_WORDS = {"PROTO": ("SMTP", "ESMTP"), "SOURCE": ("LOCAL", "REMOTE")}
_UNAVAILABLE, _UNAVAILABLE_NOW = "[UNAVAILABLE]", "[TEMPUNAVAIL]"


def attributes_text(attributes: Parameters) -> str:
    """The words behind the command; an IPv6 address gets its prefix, None is written as unavailable.

    Raises:
        LocalProtocolError: there is none, a name is none, or a value is not what its name asks for.
    """
    if not attributes:
        raise LocalProtocolError("no attributes")
    return " ".join(_attribute_text(name.upper(), value) for name, value in attributes)


def _attribute_text(name: str, value: str | None) -> str:
    if not _NAME.fullmatch(name):
        raise LocalProtocolError(f"{name[:80]!a} is no name of an attribute")
    if value is None or value in (_UNAVAILABLE, _UNAVAILABLE_NOW):
        return f"{name}={value or _UNAVAILABLE}"
    if name in _ADDRESSES:
        try:
            address = ip_address(value)
        except ValueError as error:
            raise LocalProtocolError(f"{name}={value[:80]!a} is no IP address") from error
        value = str(address) if address.version == 4 else f"IPV6:{address}"
    elif name in _PORTS and not (value.isascii() and value.isdigit() and len(value) <= 5 and int(value) < 65536):
        raise LocalProtocolError(f"{name}={value[:80]!a} is no port")
    elif name in _WORDS and value.upper() not in _WORDS[name]:
        raise LocalProtocolError(f"{name}={value[:80]!a} is none of {', '.join(_WORDS[name])}")
    if not 0 < len(value) <= MAX_VALUE:
        raise LocalProtocolError(f"{name} has {len(value)} characters, not 1 to {MAX_VALUE}; None is unavailable")
    return f"{name}={encode_xtext(value)}"


def client_attributes(client: Client) -> Parameters:
    """What XFORWARD may say of where a mail came from; what is not known, or cannot be said, is unavailable.

    >>> client_attributes(Client("192.0.2.7", "unknown", helo="mx"))[:2]
    (('NAME', None), ('ADDR', '192.0.2.7'))
    """
    given = (
        ("NAME", client.name), ("ADDR", client.address), ("PORT", client.port), ("PROTO", client.protocol),
        ("HELO", client.helo), ("IDENT", client.ident), ("SOURCE", "REMOTE" if client.address else ""),
    )  # fmt: skip
    return tuple((name, value if _is_sayable(name, value) else None) for name, value in given)


def _is_sayable(name: str, value: str) -> bool:
    if not value or value.lower() == "unknown":  # Postfix's word for a name that the DNS does not confirm
        return False
    try:
        _attribute_text(name, value)
    except LocalProtocolError:
        return False
    return True


def parse_attributes(text: str) -> Parameters:
    """Undo `attributes_text`.

    Raises:
        ValueError: a word is no attribute, or there is none.
    """
    attributes: list[tuple[str, str | None]] = []
    for piece in text.split():
        name, equals, word = piece.partition("=")
        name = name.upper()
        if not equals or not _NAME.fullmatch(name):
            raise ValueError(f"{piece[:80]!a} is no attribute")
        value = decode_xtext(word)
        if name in _ADDRESSES and value[:5].upper() == "IPV6:":
            value = value[5:]
        attributes.append((name, None if value.upper() == _UNAVAILABLE else value))
    if not attributes:
        raise ValueError("an attribute is missing")
    return tuple(attributes)


def in_commands(attributes: Parameters, listed: tuple[str, ...], verb: str) -> list[Parameters]:
    """The attributes that the peer lists, cut into as many commands as the length of a line asks for.

    Raises:
        LocalProtocolError: see `attributes_text`.
    """
    names = {name.upper() for name in listed}
    commands: list[list[tuple[str, str | None]]] = []
    room = 0
    for name, value in attributes:
        size = 1 + len(_attribute_text(name.upper(), value))
        if name.upper() not in names:
            continue
        if size > room:
            commands.append([])
            room = MAX_LINE - len(verb) - 2
        commands[-1].append((name, value))
        room -= size
    return [tuple(one) for one in commands]
