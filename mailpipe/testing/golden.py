"""What a test expects, in a file beside it: octets, text or JSON.

    golden(mail.message, "tagged.eml")        # compares with golden/tagged.eml in the folder of the test
    golden({"verdict": "reject"})             # a name of its own, of the test and a number

`pytest --update-golden` writes the files; look at what version control says about them before it is committed.

Never here: what may differ. A date or a number of chance has no place in what is compared: use the virtual clock.
"""

import dataclasses
import difflib
import json
import re
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from mailpipe.message import Entity
from mailpipe.pipeline.mail import Mail

FOLDER = "golden"
SHOWN = 200
"""LIMIT: lines of a difference that are shown; a report is for reading."""


class Golden:
    """Compares values with files; the fixture `golden` is one for each test.

    Attributes:
        folder: where the files lie.
        is_updating: whether they are written instead of compared.
    """

    def __init__(self, test_file: Path, test_name: str, *, is_updating: bool = False) -> None:
        self.folder = test_file.parent / FOLDER
        self.is_updating = is_updating
        self._stem = f"{test_file.stem}-{re.sub(r'[^A-Za-z0-9._-]+', '-', test_name).strip('-')}"
        self._unnamed = 0

    def __call__(self, value: object, name: str = "") -> None:
        """Compare a value with its file.

        Args:
            value: octets, or a message, a part or a mail, as it is; text; anything else as JSON, models and
                dataclasses too.
            name: the file, below the folder; by default one of the test's name.

        Raises:
            AssertionError: it is another, or there is no file yet.
            ValueError: the name leads out of the folder.
            TypeError: the value cannot be said in JSON.
        """
        octets, suffix = _rendered(value)
        path = self._path(name, suffix)
        if self.is_updating:
            path.parent.mkdir(parents=True, exist_ok=True)
            if not path.is_file() or path.read_bytes() != octets:
                path.write_bytes(octets)
            return
        if not path.is_file():
            raise AssertionError(f"{path}: there is no such file yet; run pytest --update-golden and look at it")
        expected = path.read_bytes()
        if expected != octets:
            raise AssertionError(f"{_difference(expected, octets, path)}\n(pytest --update-golden takes it over)")

    def _path(self, name: str, suffix: str) -> Path:
        if not name:
            self._unnamed += 1
            name = f"{self._stem}{'' if self._unnamed == 1 else f'-{self._unnamed}'}{suffix}"
        path = self.folder / name
        if not path.resolve().is_relative_to(self.folder.resolve()):
            raise ValueError(f"{name}: a golden file lies in {self.folder}")
        return path


def _rendered(value: object) -> tuple[bytes, str]:
    if isinstance(value, Mail):
        value = value.message
    if isinstance(value, Entity):
        return bytes(value), ".eml"
    if isinstance(value, bytes | bytearray | memoryview):
        return bytes(value), ".bin"
    if isinstance(value, str):
        return value.encode("utf-8", "surrogateescape"), ".txt"
    text = json.dumps(value, default=_plain, indent=2, sort_keys=True, ensure_ascii=False)
    return text.encode("utf-8", "surrogateescape") + b"\n", ".json"


def _plain(value: Any) -> object:
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {each.name: getattr(value, each.name) for each in dataclasses.fields(value)}
    if isinstance(value, set | frozenset):
        return sorted(value, key=str)
    if isinstance(value, bytes):
        return value.decode("utf-8", "backslashreplace")
    return str(value)


def _difference(expected: bytes, found: bytes, path: Path) -> str:
    texts = [each.decode("utf-8", "backslashreplace") for each in (expected, found)]
    # ends of lines are shown only where they are all that is different
    is_ends = texts[0].split() == texts[1].split()
    old, new = ([_shown(line, is_ends) for line in text.splitlines(keepends=True)] for text in texts)
    lines = list(difflib.unified_diff(old, new, f"{FOLDER}/{path.name}", "this test", lineterm=""))
    if len(lines) > SHOWN:
        lines[SHOWN:] = [f"… and {len(lines) - SHOWN} lines more"]
    return "\n".join(lines)


def _shown(line: str, with_end: bool) -> str:
    bare = line.rstrip("\r\n")
    return ascii(line)[1:-1] if with_end else "".join(one if one.isprintable() else ascii(one)[1:-1] for one in bare)
