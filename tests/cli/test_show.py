import hashlib
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

Run = Callable[..., object]


def test_the_tree_shows_types_sizes_encodings_names_and_charsets(mailpipe: Run, folder: Path) -> None:
    ended = mailpipe("show", "multipart.eml")
    assert ended.code == 0
    for words in ("multipart/mixed", "1 text/plain utf-8", "quoted-printable, 7 B", "2 application/pdf", "base64, 9 B"):
        assert words in ended.text
    assert "Subject: two parts" in ended.text


def test_a_hostile_file_name_is_shown_as_text(mailpipe: Run, folder: Path) -> None:
    out = mailpipe("show", "multipart.eml").text
    assert "[red]report.pdf" in out
    assert "\x1b" not in out


def test_a_message_in_a_message_hangs_under_its_part(mailpipe: Run, folder: Path) -> None:
    inner = (folder / "multipart.eml").read_bytes()
    (folder / "nested.eml").write_bytes(b"Subject: outer\r\nContent-Type: message/rfc822\r\n\r\n" + inner)
    out = mailpipe("show", "nested.eml").text
    lines = out.splitlines()
    outer, mixed, text = (next(line for line in lines if word in line) for word in ("rfc822", "mixed", "text/plain"))
    assert outer.index("message") < mixed.index("TEXT") < text.index("1 text")


def test_a_decoded_part_comes_out_octet_for_octet(mailpipe: Run, folder: Path) -> None:
    assert mailpipe("show", "multipart.eml", "--part", "2").out == b"%PDF-1.4\n"
    assert mailpipe("show", "multipart.eml", "--part", "1").out == "Grüße".encode()


def test_the_raw_octets_of_a_part_of_a_header_and_of_everything(mailpipe: Run, folder: Path) -> None:
    whole = (folder / "multipart.eml").read_bytes()
    assert mailpipe("show", "multipart.eml", "--raw").out == whole
    assert mailpipe("show", "multipart.eml", "--raw", "--header").out == whole.partition(b"\r\n\r\n")[0] + b"\r\n"
    part = mailpipe("show", "multipart.eml", "--part", "2", "--raw").out
    assert part.startswith(b"Content-Type: application/pdf") and part in whole


def test_an_unknown_part_names_those_there_are(mailpipe: Run, folder: Path) -> None:
    ended = mailpipe("show", "multipart.eml", "--part", "7")
    assert ended.code == 64
    assert "there is no part '7'; its parts are: 1, 2" in ended.err


def test_the_header_is_decoded(mailpipe: Run, folder: Path) -> None:
    out = mailpipe("show", "message.eml", "--header").text
    assert "Grüße" in out and "=?utf-8?" not in out


def test_json_has_a_version_and_every_part(mailpipe: Run, folder: Path) -> None:
    ended = mailpipe("show", "multipart.eml", "--json")
    document = json.loads(ended.text)
    assert document["version"] == 1
    parts = {part["path"]: part for part in document["message"]["parts"]}
    assert parts["2"]["sha256"] == hashlib.sha256(b"%PDF-1.4\n").hexdigest()
    assert b"\x1b" not in ended.out


def test_a_message_comes_from_standard_input(mailpipe: Run, folder: Path) -> None:
    ended = mailpipe("show", "-", octets=(folder / "message.eml").read_bytes())
    assert ended.code == 0
    assert "text/plain" in ended.text


def test_defects_are_shown(mailpipe: Run, folder: Path) -> None:
    (folder / "broken.eml").write_bytes(b"Subject: x\r\nContent-Type: multipart/mixed\r\n\r\nbody")
    assert "A multipart names no boundary." in mailpipe("show", "broken.eml").text


def test_a_message_of_very_many_parts_is_cut_short(mailpipe: Run, folder: Path) -> None:
    octets = b"Content-Type: multipart/mixed; boundary=b\r\n\r\n" + b"--b\r\n\r\nx\r\n" * 5000 + b"--b--\r\n"
    (folder / "many.eml").write_bytes(octets)
    out = mailpipe("show", "many.eml").text
    assert "999 text/plain" in out and "and more parts" in out and "1001 text/plain" not in out


def test_a_terminal_shows_colours_but_no_escapes_of_the_message(folder: Path, terminal: None) -> None:
    code = (
        "import pty, sys; pty.spawn([sys.executable, '-m', 'mailpipe', 'show', 'multipart.eml'],"
        " lambda fd: __import__('os').read(fd, 65536))"
    )
    environment = {**__import__("os").environ, "TERM": "xterm-256color"}
    environment.pop("NO_COLOR")
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, timeout=60, check=False)
    assert b"\x1b[" in done.stdout
    assert b"[red]report.pdf" in done.stdout
    assert b"\x1b[31mreport" not in done.stdout
