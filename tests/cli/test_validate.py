import json
from collections.abc import Callable
from pathlib import Path

from mailpipe.cli.validate import Places

Run = Callable[..., object]

BROKEN = (
    b"From: ann@example.org\r\nSubject: x\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n"
    b"--b\r\nContent-Type: text/plain\r\n\r\nno end\r\n"
)


def test_each_defect_is_a_line_with_place_sentence_and_section(mailpipe: Run, folder: Path) -> None:
    (folder / "broken.eml").write_bytes(BROKEN)
    ended = mailpipe("validate", "broken.eml")
    assert ended.code == 1
    line = next(line for line in ended.text.splitlines() if "missing-close-delimiter" in line)
    assert line.startswith("broken.eml:")
    assert "warning: A multipart ends without its closing delimiter." in line
    assert "RFC 2046 5.1.1" in line and "offset" in line
    assert ended.err.startswith("mailpipe: 1 message: ")


def test_a_good_message_ends_with_0(mailpipe: Run, folder: Path) -> None:
    ended = mailpipe("validate", "message.eml")
    assert (ended.code, ended.out) == (0, b"")
    assert ended.err == "mailpipe: 1 message: no defects\n"


def test_notes_alone_end_with_0(mailpipe: Run, folder: Path) -> None:
    octets = (folder / "message.eml").read_bytes()
    (folder / "long.eml").write_bytes(octets + b"x" * 100 + b"\r\n")
    ended = mailpipe("validate", "long.eml")
    assert ended.code == 0
    assert "note: " in ended.text


def test_the_level_hides_what_matters_less(mailpipe: Run, folder: Path) -> None:
    octets = (folder / "message.eml").read_bytes()
    (folder / "long.eml").write_bytes(octets + b"x" * 100 + b"\r\n")
    assert mailpipe("validate", "long.eml", "--level", "warning").out == b""


def test_several_messages_are_all_looked_at_also_after_one_that_is_missing(mailpipe: Run, folder: Path) -> None:
    (folder / "broken.eml").write_bytes(BROKEN)
    ended = mailpipe("validate", "none.eml", "broken.eml", "message.eml")
    assert ended.code == 66
    assert "none.eml: there is no such file" in ended.err
    assert "broken.eml:" in ended.text


def test_json_has_line_and_column(mailpipe: Run, folder: Path) -> None:
    (folder / "broken.eml").write_bytes(BROKEN)
    document = json.loads(mailpipe("validate", "--json", "broken.eml", "none.eml").text)
    assert document["version"] == 1
    defects = document["files"][0]["defects"]
    assert all(defect["line"] >= 1 and defect["column"] >= 1 and defect["rfc"] for defect in defects)
    assert document["counts"]["warning"] >= 1
    assert "no such file" in document["files"][1]["error"]


def test_quiet_says_it_by_the_exit_code(mailpipe: Run, folder: Path) -> None:
    (folder / "broken.eml").write_bytes(BROKEN)
    ended = mailpipe("validate", "-q", "broken.eml")
    assert (ended.code, ended.out, ended.err) == (1, b"", "")


def test_lines_are_counted_whatever_ends_them() -> None:
    for end in (b"\n", b"\r\n", b"\r"):
        octets = b"ab" + end + b"cd" + end + b"ef"
        places = Places(octets)
        found = [places.of(octets.index(letter)) for letter in (b"a", b"b", b"c", b"f")]
        assert found == [(1, 1), (1, 2), (2, 1), (3, 2)]


def test_many_defects_in_a_long_message_take_linear_time(mailpipe: Run, folder: Path) -> None:
    (folder / "long.eml").write_bytes(b"Subject: x\r\n" + b"not a field at all\r\n" * 20_000 + b"\r\nbody\r\n")
    assert mailpipe("validate", "long.eml", "-q").code in (0, 1)
