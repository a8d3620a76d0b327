"""Whole pipelines, from a file to a report."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import mailpipe
from mailpipe.errors import EX_TEMPFAIL, ConfigError, InputError, OutputError, SettingsError
from mailpipe.pipeline import assemble as assembling
from mailpipe.pipeline.assemble import assemble
from mailpipe.pipeline.mail import Origin, RawMail
from mailpipe.pipeline.outcome import Ending
from mailpipe.pipeline.registry import Registry
from mailpipe.pipeline.settings import load_settings, parse_settings
from mailpipe.plugins import load_registry
from mailpipe.sinks.discard import DiscardOptions, DiscardSink
from mailpipe.smtp.envelope import Envelope

# the package of this checkout, wherever the script lies
ENVIRONMENT = os.environ | {"PYTHONPATH": str(Path(mailpipe.__file__).parents[1])}

RUN = """
import sys
from pathlib import Path
from mailpipe.pipeline.assemble import assemble
from mailpipe.pipeline.settings import load_settings
from mailpipe.plugins import load_registry

if __name__ == "__main__":
    file = Path(sys.argv[1])
    registry = load_registry(file.parent)
    with assemble(load_settings(file, registry, sys.argv[2:]), registry) as pipeline:
        report = pipeline.run()
    print(report.model_dump_json())
    raise SystemExit(report.exit_code)
"""


def pipeline_of(folder: Path, *overrides: str, sink=None):
    registry = load_registry(folder)
    return assemble(load_settings(folder / "pipe.toml", registry, overrides), registry, sink)


def run(folder: Path, *overrides: str, sources=(), **more):
    with pipeline_of(folder, *overrides) as pipeline:
        return pipeline.run(sources, **more)


def subjects(folder: Path) -> list[str]:
    texts = (path.read_text() for path in (folder / "out" / "new").glob("*"))
    return sorted(text.partition("Subject: ")[2].partition("\n")[0] for text in texts)


ALL = sorted(f"mail {number}" for number in range(12))


@pytest.mark.parametrize("workers", [1, 2])
def test_an_archive_goes_through_and_a_second_run_sends_nothing(folder, workers):
    report = run(folder, f"run.workers={workers}")
    assert (report.entered, report.endings[Ending.DELIVERED], report.exit_code) == (12, 12, 0)
    assert subjects(folder) == ALL and report.workers == workers
    again = run(folder)
    assert (again.entered, again.skipped, again.exit_code, again.warnings) == (0, 12, 0, ())
    assert len(subjects(folder)) == 12
    assert run(folder, fresh=True).entered == 12 and len(subjects(folder)) == 24


def test_a_changed_pipeline_does_not_continue_the_journal(folder):
    run(folder)
    with pytest.raises(ConfigError, match=r"\[sink\] changed since this journal was begun"):
        run(folder, "sink.path=elsewhere")
    assert run(folder, "sink.path=elsewhere", "run.journal=false").entered == 12


def test_archives_of_the_command_line_take_the_place_of_the_source(folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("one.eml").write_bytes(b"To: x@example.net\nSubject: alone\n\nhi\n")
    report = run(folder, sources=["one.eml"])
    assert report.entered == 1 and subjects(folder) == ["alone"]
    with pytest.raises(InputError):
        run(folder, sources=["one.eml", "nowhere.eml"])
    assert subjects(folder) == ["alone"]


def test_an_empty_archive_is_no_mail_and_a_warning(folder):
    (folder / "archive.mbox").write_bytes(b"")
    report = run(folder)
    assert (report.entered, report.exit_code, report.warnings) == (0, 0, ("no mail in the source",))


def test_a_missing_archive_stops_before_anything_is_opened(folder):
    (folder / "archive.mbox").unlink()
    with pytest.raises(InputError, match=r"archive\.mbox"):
        run(folder)


def test_a_pipeline_without_a_sink_is_told(folder):
    registry = load_registry(folder)
    settings = parse_settings('[[stage]]\nuse = "as-told"\n', folder / "p.toml", registry)
    with pytest.raises(SettingsError, match=r"there is no \[sink\]; expected \[sink\] with use = one of discard, eml"):
        assemble(settings, registry)


def test_one_mail_at_a_time_is_a_filter(folder):
    with pipeline_of(folder) as pipeline:
        pipeline.open()
        for subject, ending in (("x", Ending.DELIVERED), ("drop it", Ending.DROPPED), ("raise it", Ending.DEFERRED)):
            octets = f"Subject: {subject}\n\nhi\n".encode()
            raw = RawMail(octets, Origin("stdin", "-", 0, len(octets)), Envelope.of("a@x", "b@x"))
            assert pipeline.process(raw).ending is ending
    assert not (folder / "pipe.journal").exists() and subjects(folder) == ["x"]


@pytest.mark.parametrize("workers", [1, 2])
def test_a_given_sink_leaves_no_journal_behind(folder, workers):
    with pipeline_of(folder, f"run.workers={workers}", sink=DiscardSink(DiscardOptions())) as pipeline:
        report = pipeline.run()
    assert report.endings[Ending.DELIVERED] == 12 and report.journal is None
    assert not (folder / "pipe.journal").exists() and not (folder / "out").exists()


@pytest.mark.parametrize("workers", [1, 2])
def test_a_sink_that_does_not_open_stops_before_any_mail(folder, workers):
    (folder / "out").write_text("a file")
    with pytest.raises(Exception, match="out") as caught:
        run(folder, f"run.workers={workers}")
    assert caught.value.exit_code == OutputError("out", "x").exit_code
    (folder / "out").unlink()
    assert run(folder).entered == 12


def test_a_full_disk_for_the_journal_stops_the_run_and_loses_nothing(folder, monkeypatch):
    write, lines = os.write, []

    def fail(descriptor, octets):
        nonlocal lines
        lines += [octets] if bytes(octets[:1]) == b"{" else []
        if len(lines) == 8:  # the header, three mails of two lines, and a beginning
            raise OSError(28, "No space left on device")
        return write(descriptor, octets)

    monkeypatch.setattr("mailpipe.pipeline.journal.os.write", fail)
    report = run(folder)
    assert report.exit_code == EX_TEMPFAIL and "No space left on device" in report.error
    assert report.endings[Ending.DELIVERED] == 3 and report.is_balanced and len(subjects(folder)) == 3
    monkeypatch.undo()
    report = run(folder)
    assert (report.skipped, report.entered) == (3, 9) and subjects(folder) == ALL


def test_an_archive_that_breaks_off_is_told_after_the_rest(folder, tmp_path):
    for name in "ab":
        (folder / "letters").mkdir(exist_ok=True)
        (folder / "letters" / f"{name}.eml").write_bytes(b"To: x@example.net\nSubject: s\n\nhi\n")
    os.mkfifo(folder / "letters" / "aa.eml")
    report = run(folder, sources=[str(folder / "letters")])
    assert report.endings[Ending.DELIVERED] == 2 and "aa.eml" in report.error and report.exit_code == 66


def test_stop_from_a_stage_ends_after_the_mail_in_hand(folder):
    with pipeline_of(folder) as pipeline:
        report = pipeline.run(on_progress=lambda report: pipeline.stop() if report.entered else None)
    assert 1 <= report.entered < 12 and report.exit_code == 0
    assert run(folder).entered == 12 - report.entered and subjects(folder) == ALL


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_after_the_mail_in_hand(folder, number):
    before = signal.getsignal(number)
    with pipeline_of(folder) as pipeline:
        report = pipeline.run(on_progress=lambda report: report.entered and not report.signal and os.kill(os.getpid(), number))
    assert report.exit_code == 128 + number and 1 <= report.entered < 12
    assert signal.getsignal(number) is before
    assert run(folder).entered == 12 - report.entered and subjects(folder) == ALL


def test_workers_need_a_registry_that_can_be_made_again(folder):
    real, registry = load_registry(folder), Registry()
    registry.add_source(real.source("mbox"))
    registry.add_stage(real.stage("as-told"))
    registry.add_sink(real.sink("maildir"))
    settings = load_settings(folder / "pipe.toml", registry, ["run.workers=2"])
    with pytest.raises(ConfigError, match="several workers need a registry"), assemble(settings, registry) as pipeline:
        pipeline.run()


def test_a_line_that_does_not_open_closes_what_was_opened(folder, monkeypatch):
    closed = []
    registry = load_registry(folder)
    script = registry.stage("as-told")
    monkeypatch.setattr(script, "close", lambda self: closed.append(1))
    (folder / "out").write_text("a file")
    with pytest.raises(OutputError):
        assembling.open_line(load_settings(folder / "pipe.toml", registry), registry)
    assert closed == [1]


@pytest.mark.parametrize("workers", [1, 2])
def test_after_kill_9_the_same_command_continues(folder, tmp_path, workers):
    script = tmp_path / "run.py"
    script.write_text(RUN)
    kill = [f"run.workers={workers}", "stage.1.killer='mail 7'", f"stage.1.flag='{tmp_path / 'flag'}'"]
    command = [sys.executable, str(script), str(folder / "pipe.toml"), *kill]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, env=ENVIRONMENT)
    if workers == 1:
        # the process itself was killed
        assert done.returncode == -signal.SIGKILL and subjects(folder) == sorted(f"mail {number}" for number in range(7))
        with (folder / "pipe.journal").open("ab") as journal:
            journal.write(b'{"end":"00')
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, env=ENVIRONMENT)
    report = json.loads(done.stdout)
    assert done.returncode == 0, done.stderr
    assert report["skipped"] == (7 if workers == 1 else 0) and report["in_doubt"] == []
    assert subjects(folder) == ALL
