"""A file of more than 500 lines holds two ideas."""

LIMIT = 500


def test_no_file_is_longer_than_five_hundred_lines(top):
    files = [path for room in ("mailpipe", "plugins", "samples", "tests") for path in (top / room).rglob("*.py*") if path.suffix in (".py", ".pyx")]
    assert files
    long = {
        path.relative_to(top).as_posix(): count
        for path in files
        if (count := len(path.read_text(encoding="utf-8").splitlines())) > LIMIT
    }
    assert not long, long

