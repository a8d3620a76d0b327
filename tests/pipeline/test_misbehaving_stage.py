"""A stage that raises, hangs, eats memory, returns nonsense or kills its process ends each mail as `on_error` says.

The mails between those are what they would have been without them, and nothing is lost.
"""

import mailbox
from pathlib import Path

import pytest

from mailpipe.pipeline.assemble import assemble
from mailpipe.pipeline.settings import parse_settings
from mailpipe.plugins import load_registry

PLUGIN = Path(__file__).with_name("misbehave.py").read_text("utf-8")
FEW = ("hang", "eat", "killed", "return a number", "exit")
ALL = (
    "hang", "eat", "eat slowly", "exit", "killed", "return a number", "return nothing", "return text among mails",
    "without end", "recurse", "sys.exit", "garble", "close everything", "leave a child and die", "spin",
)  # fmt: skip
GOOD = ("first", "header", "print", "middle", "fork", "last")
ENDINGS = {
    '"defer"': "deferred", '"skip"': "delivered", '"quarantine"': "quarantined", '"reject"': "rejected",
    '{ goto = "broken" }': "delivered", '{ retry = 1, wait = 0, then = "skip" }': "delivered",
}  # fmt: skip


def octets_of(subject):
    return f"From: ada@example.org\r\nTo: bo@example.net\r\nSubject: {subject}\r\n\r\nHello from {subject}.\r\n".encode()


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "plugins").mkdir()
    (tmp_path / "plugins" / "misbehave.py").write_text(PLUGIN, "utf-8")
    (tmp_path / "in").mkdir()
    return tmp_path


def run(folder, on_error, workers, subjects):
    for number, subject in enumerate(subjects):
        (folder / "in" / f"{number:02}.eml").write_bytes(octets_of(subject))
    registry = load_registry(folder)
    text = (
        '[source]\nuse = "eml"\npath = "in"\n[[stage]]\nuse = "misbehave"\n'
        f'budget = {{ time = "1.5s", memory = "300MB" }}\non_error = {on_error}\n'
        '[sink]\nuse = "maildir"\npath = "out"\n[[route.broken.stage]]\nuse = "accept"\n'
        '[route.broken.sink]\nuse = "maildir"\npath = "broken"\n[quarantine]\ndirectory = "aside"\n'
        f"[run]\nworkers = {workers}\njournal = false\n"
    )
    with assemble(parse_settings(text, folder / "p.toml", registry), registry) as pipeline:
        return pipeline.run()


def stored(folder):
    found = {}
    if folder.is_dir():
        for message in mailbox.Maildir(folder, create=False):
            found.setdefault(message["Subject"], []).append(message["X-Seen"])
    return found


@pytest.mark.parametrize(
    ("on_error", "workers", "bad"), [('"defer"', 1, ALL), ('"skip"', 2, FEW), *((each, 1, FEW) for each in ENDINGS)]
)
def test_each_mail_ends_as_it_was_said(folder, on_error, workers, bad):
    # a good one before, between and behind the bad ones
    subjects = [one for pair in zip(bad, GOOD * 3, strict=False) for one in reversed(pair)] + ["last"]
    good = [subject for subject in subjects if subject in GOOD]
    report = run(folder, on_error, workers, subjects)
    assert report.entered == len(subjects) == sum(report.endings.values())
    if ENDINGS[on_error] == "delivered":
        assert report.endings["delivered"] == len(subjects)
    else:
        assert (report.endings["delivered"], report.endings[ENDINGS[on_error]]) == (len(good), len(bad))
    delivered = stored(folder / "out")
    assert {subject: seen[0] for subject, seen in delivered.items() if subject in GOOD} == {
        subject: "yes" if subject == "header" else None for subject in good
    }
    if where := "broken" if "goto" in on_error else "out" if "skip" in on_error else "":
        assert set(bad) <= set(stored(folder / where))
    else:
        assert not set(bad) & set(delivered)
    if "quarantine" in on_error:
        assert len(list((folder / "aside").glob("*.eml"))) == len(bad)
