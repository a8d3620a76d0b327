"""Writes the sample letters: archive.mbox, single files and a Maildir.

    python samples/scripts/make_archive.py [FOLDER]

Run it after editing `letters/`; without a folder it writes beside itself, into samples/. The result is committed, and
a test compares the two. The archive is in the mboxrd format: a line of a body that begins with "From ", with any
number of ">" before it, gets one more ">".
"""

import re
import sys
from pathlib import Path

from letters import LETTERS
from letters.letter import Letter

SINGLE = (
    "plain-ascii",
    "iso-2022-jp",
    "mixed-pdf-and-png",
    "related-inline-image",
    "signed-smime",
    "forwarded-twice",
    "bounce",
    "smtputf8-addresses",
    "no-close-delimiter",
    "bare-carriage-return",
)
"""The letters that also stand alone in mail/, with CRLF line ends as on the wire."""

MAILDIR = (("mailing-list", "new", ""), ("alternative", "cur", "S"), ("koi8-r", "cur", "RS"), ("invitation", "new", ""))
"""The letters of the Maildir: name, folder, flags."""

_FROM = re.compile(rb"(?m)^(>*From )")


def mbox_entry(letter: Letter, number: int) -> bytes:
    """A letter with its "From " line, quoted for the archive."""
    octets = letter.octets
    end = b"" if octets.endswith(b"\n") else b"\n"
    date = letter.date(number).strftime("%a %b %e %H:%M:%S %Y")
    return f"From {letter.sender} {date}\n".encode() + _FROM.sub(rb">\1", octets) + end + b"\n"


def main(folder: Path) -> None:
    """Write everything below `folder`."""
    letters = [letter.at(number) for number, letter in enumerate(LETTERS)]
    by_name = {letter.name: letter for letter in letters}
    if len(by_name) != len(letters):
        raise SystemExit("two letters have the same name")
    (folder / "archive.mbox").write_bytes(b"".join(mbox_entry(letter, n) for n, letter in enumerate(letters)))
    (folder / "mail").mkdir(parents=True, exist_ok=True)
    for name in SINGLE:
        (folder / "mail" / f"{name}.eml").write_bytes(by_name[name].octets.replace(b"\n", b"\r\n"))
    for number, (name, box, flags) in enumerate(MAILDIR):
        (folder / "maildir" / box).mkdir(parents=True, exist_ok=True)
        unique = f"17776{number:05}.M{number}P1.harbour" + (f":2,{flags}" if box == "cur" else "")
        (folder / "maildir" / box / unique).write_bytes(by_name[name].octets)
    (folder / "maildir" / "tmp").mkdir(exist_ok=True)
    print(f"{len(letters)} letters in {folder / 'archive.mbox'}")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).resolve().parent.parent)
