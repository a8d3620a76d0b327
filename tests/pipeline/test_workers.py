"""Several processes: nothing is lost when one of them is."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import mailpipe
from mailpipe.pipeline.assemble import assemble
from mailpipe.pipeline.outcome import Ending
from mailpipe.pipeline.settings import load_settings
from mailpipe.plugins import load_registry

# the package of this checkout, wherever the script lies
ENVIRONMENT = os.environ | {"PYTHONPATH": str(Path(mailpipe.__file__).parents[1])}

PARENT = """
import sys
from pathlib import Path
from mailpipe.pipeline.assemble import assemble
from mailpipe.pipeline.settings import load_settings
from mailpipe.plugins import load_registry

def tell(report):
    print(report.entered, flush=True)

if __name__ == "__main__":
    file = Path(sys.argv[1])
    registry = load_registry(file.parent)
    assemble(load_settings(file, registry, ["run.workers=2"]), registry).run(on_progress=tell)
"""

WAITING = '''
"""A stage that waits for a file."""
import os
import time
import mailpipe


class Wait(mailpipe.Stage):
    """Waits until a file is there."""

    name = "wait"

    class Options(mailpipe.Options):
        """Where."""

        file: str
        """The file."""

    def process(self, mail):
        while not os.path.exists(self.options.file):
            time.sleep(0.01)
        return mail


def register(registry):
    registry.add_stage(Wait)
'''


def run(folder, *overrides):
    registry = load_registry(folder)
    settings = load_settings(folder / "pipe.toml", registry, ["run.workers=2", *overrides])
    with assemble(settings, registry) as pipeline:
        return pipeline.run()


def delivered(folder):
    return len(list((folder / "out" / "new").glob("*")))


@pytest.mark.parametrize("journal", [(), ("run.journal=false",)])
def test_a_mail_that_kills_two_workers_is_deferred_alone(folder, journal):
    report = run(folder, "stage.1.killer='mail 5'", *journal)
    assert (report.endings[Ending.DELIVERED], report.endings[Ending.DEFERRED], report.entered) == (11, 1, 12)
    (notice,) = report.notices
    assert notice.reason == "2 worker processes ended at this mail; the last one was killed by SIGKILL"
    assert report.warnings == ("a worker process was killed by SIGKILL; another took its place",) * 2
    assert report.exit_code == 75 and delivered(folder) == 11


@pytest.mark.parametrize("mails", [1, 2])
def test_the_last_mail_is_not_forgotten_when_its_worker_dies(folder, mails):
    separator = b"From ann@"
    kept = (folder / "archive.mbox").read_bytes().split(separator)[1 : mails + 1]
    (folder / "archive.mbox").write_bytes(b"".join(separator + mail for mail in kept))
    report = run(folder, f"stage.1.killer='mail {mails - 1}'", "run.journal=false")
    assert (report.endings[Ending.DELIVERED], report.endings[Ending.DEFERRED]) == (mails - 1, 1)
    assert report.exit_code == 75


def test_stages_fail_in_workers_as_they_do_alone(folder):
    archive = (folder / "archive.mbox").read_bytes()
    (folder / "archive.mbox").write_bytes(archive.replace(b"mail 3\n", b"raise it\n").replace(b"mail 4\n", b"drop it\n"))
    report = run(folder)
    assert {ending: count for ending, count in report.endings.items() if count} == {
        Ending.DELIVERED: 10, Ending.DEFERRED: 1, Ending.DROPPED: 1
    }  # fmt: skip
    assert run(folder).entered == 1


def test_large_mails_pass_through_small_pipes(folder):
    mails = b"".join(
        b"From a@x Thu Jan  1 00:00:00 1970\nTo: b@example.net\nSubject: mail %d\n\n%b\n\n" % (number, b"x" * 70 * 20_000)
        for number in range(12)
    )
    (folder / "archive.mbox").write_bytes(mails)
    report = run(folder)
    assert report.endings[Ending.DELIVERED] == 12 and delivered(folder) == 12


def test_a_journal_that_fails_in_a_worker_stops_the_run_in_good_order(folder):
    limit = """
import resource, signal
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (2600, 2600))
"""
    code = limit + PARENT.replace(
        ".run(on_progress=tell)", ".run(); print(report.error, report.exit_code, report.is_balanced)"
    ).replace("    assemble(", "    report = assemble(")
    script = folder / "run.py"
    script.write_text(code)
    done = subprocess.run([sys.executable, str(script), str(folder / "pipe.toml")], capture_output=True, text=True, timeout=60, env=ENVIRONMENT)
    assert "pipe.journal: cannot write" in done.stdout, done.stderr
    assert done.stdout.strip().endswith("True")
    before = delivered(folder)
    assert 0 < before < 12
    report = run(folder)
    assert report.exit_code == 0 and report.skipped + report.entered == 12
    assert delivered(folder) == 12 + len(report.in_doubt)


def test_workers_end_when_their_parent_is_killed(folder, tmp_path):
    (folder / "plugins" / "wait.py").write_text(WAITING)
    go = tmp_path / "go"
    text = (folder / "pipe.toml").read_text()
    (folder / "pipe.toml").write_text(text.replace('use = "as-told"', f'use = "wait"\nfile = "{go}"'))
    script = tmp_path / "parent.py"
    script.write_text(PARENT.replace("assemble(load", "print(__import__('os').getpid(), flush=True); assemble(load"))
    parent = subprocess.Popen([sys.executable, str(script), str(folder / "pipe.toml")], stdout=subprocess.PIPE, text=True, env=ENVIRONMENT)
    assert parent.stdout is not None
    assert int(parent.stdout.readline()) == parent.pid
    # both workers are in the middle of a mail when its file is there
    journal = folder / "pipe.journal"
    children = wait_for(lambda: len(found := children_of(parent.pid)) == 2 and found)
    wait_for(journal.exists)
    parent.kill()
    parent.wait()
    go.touch()
    wait_for(lambda: not any(is_alive(child) for child in children))
    parent.stdout.close()
    report = run(folder)
    assert report.skipped + report.entered == 12 and delivered(folder) >= 12
    assert delivered(folder) == 12 + len(report.in_doubt)


def children_of(parent):
    """The workers: grandchildren, by way of the fork server."""
    parents = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                with open(f"/proc/{entry}/stat") as stat:
                    parents[int(entry)] = int(stat.read().rpartition(")")[2].split()[1])
            except OSError:
                continue
    return [pid for pid in parents if parents.get(parents[pid]) == parent]


def is_alive(pid):
    try:
        os.kill(pid, 0)
        with open(f"/proc/{pid}/stat") as stat:
            return stat.read().rpartition(")")[2].split()[0] != "Z"
    except (OSError, ValueError):
        return False


def wait_for(question, seconds=30.0):
    import time

    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if answer := question():
            return answer
        time.sleep(0.02)
    raise AssertionError("it did not come to pass")


def test_a_worker_ignores_the_signals_of_its_group(folder, tmp_path):
    (folder / "plugins" / "wait.py").write_text(WAITING)
    go = tmp_path / "go"
    text = (folder / "pipe.toml").read_text()
    (folder / "pipe.toml").write_text(text.replace('use = "as-told"', f'use = "wait"\nfile = "{go}"'))
    script = tmp_path / "parent.py"
    script.write_text(PARENT.replace(".run(on_progress=tell)", ".run(); print(report.model_dump_json())")
                      .replace("    assemble(", "    report = assemble("))
    parent = subprocess.Popen(
        [sys.executable, str(script), str(folder / "pipe.toml")], stdout=subprocess.PIPE, text=True, start_new_session=True,
        env=ENVIRONMENT,
    )
    wait_for(lambda: len(children_of(parent.pid)) == 2 and (folder / "pipe.journal").exists())
    # a key press reaches the whole group; it may come before the workers have begun to ignore it
    wait_for(lambda: all("SigIgn" in line and int(line.split()[1], 16) & 2 for line in ignored(children_of(parent.pid))))
    os.killpg(parent.pid, signal.SIGINT)
    go.touch()
    out, _ = parent.communicate(timeout=60)
    assert '"signal":2' in out and '"error":""' in out
    assert run(folder).exit_code == 0 and delivered(folder) == 12


def ignored(pids):
    for pid in pids:
        with open(f"/proc/{pid}/status") as status:
            yield next(line for line in status if line.startswith("SigIgn"))


WIDE = '''
"""A sink for four mails at a time that kills its process at one of them."""
import os
import signal
import threading
import mailpipe
from mailpipe.pipeline.outcome import Fate


class Wide(mailpipe.Sink):
    """Writes the subjects down."""

    name = "wide"

    class Options(mailpipe.Options):
        """What it does."""

        file: str
        """Where to."""
        flag: str = ""
        """A file that must not be there for it to kill."""

    in_flight = property(lambda self: 4)

    def deliver(self, mail):
        subject = mail.message.subject
        with open(self.options.file, "a") as file:
            file.write(subject + "\\n")
        if subject == "mail 5" and not os.path.exists(self.options.flag or "/nowhere"):
            if self.options.flag:
                open(self.options.flag, "w").close()
            os.kill(os.getpid(), signal.SIGKILL)
        return mailpipe.Receipt.of_all(mail.envelope.forward_paths, Fate.DELIVERED, "2.0.0", "written")


def register(registry):
    registry.add_sink(Wide)
'''


@pytest.mark.parametrize("kills_always", [False, True])
def test_of_the_mails_that_a_dead_worker_had_under_way_each_goes_on_alone(folder, kills_always):
    (folder / "plugins" / "wide.py").write_text(WIDE)
    flag = "" if kills_always else folder / "flag"
    (folder / "pipe.toml").write_text(
        f'[source]\nuse = "mbox"\npath = "archive.mbox"\n\n[sink]\nuse = "wide"\nfile = "{folder / "told"}"\nflag = "{flag}"\n'
    )
    registry = load_registry(folder)
    report = assemble(load_settings(folder / "pipe.toml", registry, ["run.workers=2"]), registry).run()
    told = (folder / "told").read_text().splitlines()
    assert set(told) == {f"mail {number}" for number in range(12)}
    assert report.is_balanced and report.endings[Ending.DEFERRED] == kills_always
    assert report.endings[Ending.DELIVERED] == 12 - kills_always
    assert 1 <= len(report.in_doubt) <= 4 + kills_always
    assert len(told) <= 12 + len(report.in_doubt)
