"""Reading one message from a file or from standard input.

    octets = read_octets("message.eml")        # "-" is standard input

Never here: archives of many messages; those are sources.
"""

import sys
from pathlib import Path

from mailpipe.cli.exit import UnreadableMessage
from mailpipe.errors import InputError


def read_octets(name: str) -> bytes:
    """All octets of a file.

    Args:
        name: a path, "-" for standard input.

    Raises:
        InputError: it is a directory, or empty.
        OSError: it cannot be opened or read.
    """
    if name == "-":
        octets = sys.stdin.buffer.read()
        if not octets:
            raise InputError("-", "nothing came from standard input; pipe a message into it")
        return octets
    path = Path(name)
    if path.is_dir():
        raise InputError(name, "is a directory; name a message in it, or give it to `mailpipe run` as a source")
    octets = path.read_bytes()
    if not octets:
        raise InputError(name, "the file is empty; there is no message in it")
    return octets


def must_look_like_a_message(name: str, octets: bytes) -> None:
    """Refuse what has no header field at all: a picture, a program, a compressed archive.

    Raises:
        UnreadableMessage: no line of the first block is a field.
    """
    head = octets[:65536].replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    block = head.lstrip(b"\n").partition(b"\n\n")[0]
    for line in block.split(b"\n"):
        field_name, colon, _ = line.partition(b":")
        field_name = field_name.rstrip(b" \t")
        if colon and field_name and all(33 <= octet <= 126 for octet in field_name):
            return
    raise UnreadableMessage(f"{name}: this is no message: it has no header field; check that it is the file you mean")
