"""What kind of archive a path is, by looking at it.

    detect("inbox")         # "mbox", "maildir", "eml" or "eml-folder"

Never here: reading it; the sources do.
"""

from pathlib import Path
from typing import Literal

from mailpipe.archive.maildir import is_maildir
from mailpipe.archive.opened import read_head
from mailpipe.errors import InputError

ArchiveKind = Literal["mbox", "maildir", "eml", "eml-folder"]


def detect(path: str | Path) -> ArchiveKind:
    """Look at a file or a directory.

    A file is an mbox when it begins with a From_ line (behind blank lines and a byte order mark, unpacked where it
    is compressed), or when it is empty and not called .eml; any other file is one message.

    Raises:
        InputError: it is missing or cannot be read.
    """
    place = Path(path)
    if place.is_dir():
        return "maildir" if is_maildir(place) else "eml-folder"
    head = read_head(str(place))
    if not head:
        return "eml" if place.suffix.lower() in (".eml", ".msg") else "mbox"
    beginning = head.removeprefix(b"\xef\xbb\xbf").lstrip(b"\r\n")
    return "mbox" if beginning.startswith(b"From ") else "eml"


def check_directory(path: str | Path, remedy: str) -> None:
    """Raise where a path is no directory.

    Raises:
        InputError: it is missing or something else, with the remedy in its words.
    """
    place = Path(path)
    try:
        place.stat()
    except OSError as error:
        raise InputError.from_os(str(path), error) from error
    if not place.is_dir():
        raise InputError(str(path), f"is no directory; {remedy}")
