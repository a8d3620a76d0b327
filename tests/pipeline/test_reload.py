"""A pipeline file that is read again: the new one takes over between two mails, or the old one goes on."""

import os
import signal
import threading
from pathlib import Path

import pytest

from mailpipe import Envelope, RawMail
from mailpipe.errors import ConfigError, SettingsError
from mailpipe.pipeline.mail import Origin
from mailpipe.pipeline.reload import FileWatch, Reloader, opened_pipeline
from mailpipe.pipeline.services import SystemClock
from mailpipe.pipeline.settings import load_settings
from mailpipe.plugins import load_registry

PLUGIN = '''
"""A stage for the tests."""
import mailpipe

@mailpipe.stage()
def say(mail: mailpipe.Mail) -> mailpipe.Verdict:
    """Says a word."""
    return mailpipe.Verdict.reject("%s")

def register(registry):
    registry.add_stage(say)
'''
TEXT = '[[stage]]\nuse = "say"\n[sink]\nuse = "discard"\n'


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "plugins").mkdir()
    (tmp_path / "plugins" / "say.py").write_text(PLUGIN % "first")
    (tmp_path / "p.toml").write_text(TEXT)
    return tmp_path


@pytest.fixture
def reloader(folder):
    def load():
        registry = load_registry(folder)
        return registry, load_settings(folder / "p.toml", registry)

    with Reloader(load, opened_pipeline) as made:
        yield made


def word(reloader):
    with reloader.held() as pipeline:
        raw = RawMail(b"Subject: x\r\n\r\n", Origin("test", "-"), Envelope.of("a@example.org", "b@example.net"))
        return pipeline.process(raw).reason


def test_a_plugin_is_imported_anew_even_within_the_second(reloader, folder):
    assert word(reloader) == "first"
    for number in range(3):  # of one length and one second, so that compiled files look good
        (folder / "plugins" / "say.py").write_text(PLUGIN % f"no. {number}")
        assert reloader.reload().is_taken
        assert word(reloader) == f"no. {number}"


def test_what_changed_is_told(reloader, folder):
    assert reloader.reload().words == f"{folder / 'p.toml'} was read again: no table changed"
    (folder / "p.toml").write_text(TEXT + '[run]\nworkers = 2\n[limits]\nmessage_size = "1MB"\n')
    assert reloader.reload().changed == ("[limits]", "[run]")
    assert reloader.settings.run.workers == 2


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("p.toml", TEXT.replace("say", "sya"), "unknown stage 'sya', did you mean 'say'?"),
        ("p.toml", "[[stage]", "not TOML"),
        ("p.toml", '[sink]\nuse = "maildir"\npath = "p.toml"\n', "p.toml"),
        ("plugins/say.py", "import nothing_of_that_name\n", "No module named 'nothing_of_that_name'"),
        ("plugins/say.py", "raise SystemExit(3)\n", "SystemExit"),
    ],
)
def test_the_old_one_goes_on_where_the_new_one_cannot_be_used(reloader, folder, name, text, words):
    (folder / name).write_text(text)
    before = reloader.current()
    result = reloader.reload()
    assert not result.is_taken and isinstance(result.error, ConfigError | Exception)
    assert "is not taken, the old one goes on:\n" in result.words and words in result.words
    assert reloader.current() is before and word(reloader) == "first"


def test_the_first_one_has_to_be_good(folder):
    (folder / "p.toml").write_text("[stage]\n")
    registry = load_registry(folder)
    with pytest.raises(SettingsError):
        Reloader(lambda: (registry, load_settings(folder / "p.toml", registry)), opened_pipeline)


class Thing:
    def __init__(self):
        self.is_closed = False

    def close(self):
        self.is_closed = True


def test_who_holds_the_old_one_finishes_with_it(folder):
    registry = load_registry()
    settings = load_settings(folder / "p.toml", load_registry(folder))
    reloader = Reloader(lambda: (registry, settings), lambda *_: Thing())
    with reloader.held() as old, reloader.held():
        with reloader.held() as same:
            assert same is old
        reloader.reload()
        with reloader.held() as new:
            assert new is not old
        assert not old.is_closed and not new.is_closed
    assert old.is_closed and not new.is_closed
    assert reloader.reload().is_taken and new.is_closed
    last = reloader.current()
    reloader.close()
    assert last.is_closed


def test_threads_at_work_never_meet_one_that_is_closed(folder):
    settings = load_settings(folder / "p.toml", load_registry(folder))
    reloader = Reloader(lambda: (None, settings), lambda *_: Thing())
    met, is_over = [], threading.Event()

    def work():
        while not is_over.is_set():
            with reloader.held() as thing:
                met.append(thing.is_closed)

    threads = [threading.Thread(target=work) for _ in range(3)]
    for each in threads:
        each.start()
    for _ in range(300):
        assert reloader.reload().is_taken
    is_over.set()
    for each in threads:
        each.join()
    assert met and not any(met)


def test_a_signal_asks_for_it(reloader):
    woken = []
    assert reloader.reload_if_asked() is None
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)  # whoever runs the tests may have it ignored
    try:
        with reloader.watch_signal(lambda: woken.append(1)):
            os.kill(os.getpid(), signal.SIGHUP)
            assert woken == [1]
            assert reloader.reload_if_asked().is_taken
            assert reloader.reload_if_asked() is None
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_DFL
    finally:
        signal.signal(signal.SIGHUP, before)


def test_a_signal_that_nohup_ignores_stays_ignored_unless_it_is_wanted(reloader):
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with reloader.watch_signal():
            os.kill(os.getpid(), signal.SIGHUP)
            assert reloader.reload_if_asked() is None
        with reloader.watch_signal(also_ignored=True):
            os.kill(os.getpid(), signal.SIGHUP)
            assert reloader.reload_if_asked().is_taken
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


class Acting(SystemClock):
    """A clock at each tick of which something happens."""

    def __init__(self, *acts):
        self.acts = list(acts)

    def sleep(self, seconds):
        assert seconds > 0
        if self.acts:
            self.acts.pop(0)()


def test_files_are_watched_until_they_are_quiet(folder):
    def nothing():
        pass

    def write(name, text):
        return lambda: (folder / name).write_text(text)

    clock = Acting(
        nothing, write("unrelated", "x"), write("p.toml", ""), write("p.toml", "longer"), write("plugins/new.py", ""), nothing,
        write("plugins/.new.py.swp", ""), (folder / "p.toml").unlink, nothing,
    )  # fmt: skip
    watch = FileWatch([folder / "p.toml", folder / "plugins", folder / "later.eml"], clock)
    assert [Path(each).name for each in watch.wait()] == ["p.toml", "new.py"]
    assert [Path(each).name for each in watch.wait()] == ["p.toml"]
    clock.acts = [write("later.eml", "x"), nothing]
    assert [Path(each).name for each in watch.wait()] == ["later.eml"]
