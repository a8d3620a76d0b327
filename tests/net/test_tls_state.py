"""What is remembered about TLS outlives the process, however it ends, and is shared by several."""

import json
import os
import signal
import sqlite3
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from mailpipe.errors import ConfigError, OutputError
from mailpipe.net.resolver import Resolver
from mailpipe.net.tls_policy import REFRESH, StsMode, StsPolicies, TlsCounters, TlsProblem
from mailpipe.net.tls_report import reported_domains, tls_report
from mailpipe.net.tls_state import KEPT_DAYS, NAME, TlsCount, TlsState

POLICY = b"version: STSv1\r\nmode: enforce\r\nmx: mx.example.test\r\nmax_age: 604800\r\n"
LINES = ("version: STSv1", "mode: enforce", "mx: mx.example.test", "max_age: 604800")
DAY = 86400.0


class Clock:
    def __init__(self, now):
        self.now = now

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock(1_700_000_000.0)  # 2023-11-14


@pytest.fixture
def state(tmp_path, clock):
    with TlsState(tmp_path / "queue" / "state", clock=clock) as made:
        yield made


class Web:
    """The web server of the domain; None is a server that cannot be reached."""

    def __init__(self):
        self.policy, self.asked = POLICY, 0

    def __call__(self, domain):
        self.asked += 1
        if self.policy is None:
            raise OSError("unreachable")
        return self.policy


@pytest.fixture
def process(dns_server, state, clock):
    """Begin another process: nothing of the one before is in memory; its own clock begins anywhere."""
    dns_server.add("_mta-sts.example.test", "TXT", '"v=STSv1; id=1;"', ttl=10)

    def begin(web):
        own = Clock(5.0)
        resolver = Resolver([dns_server.address], clock=own, timeout=0.5)
        return StsPolicies(resolver, web, clock=own, state=TlsState(state.path.parent, clock=clock)), own

    return begin


def test_a_policy_holds_after_a_restart_where_the_web_server_is_down(process, clock):
    web = Web()
    first, _ = process(web)
    assert first.find("example.test").mode is StsMode.ENFORCE
    web.policy = None
    clock.now += 6 * DAY
    second, _ = process(web)
    found = second.find("example.test")
    assert found is not None and found.lines == LINES and not found.allows("mx.evil.test")
    clock.now += 2 * DAY
    assert process(web)[0].find("example.test") is None  # its time is over


def test_a_policy_holds_after_a_restart_where_its_record_is_gone(process, dns_server):
    first, _ = process(Web())
    first.find("example.test")
    dns_server.add("_mta-sts.example.test", "TXT", '"nothing"')
    assert process(Web())[0].find("example.test") is not None


def test_a_clock_that_was_set_back_makes_no_policy_younger_than_new(process, clock):
    process(Web())[0].find("example.test")
    clock.now -= 100 * DAY
    policies, own = process(Web())
    assert policies.find("example.test") is not None
    own.now += 8 * DAY
    policies._fetch = Web()
    policies._fetch.policy = None
    assert policies.find("example.test") is None


def test_a_policy_is_fetched_again_before_it_ends_and_keeps_where_that_fails(process, clock):
    web = Web()
    policies, own = process(web)
    for days in range(1, 20):
        assert policies.find("example.test") is not None
        own.now += REFRESH + 60
        clock.now += REFRESH + 60
        assert web.asked == days
    web.policy = None
    assert policies.find("example.test") is not None and web.asked == 20
    assert policies.find("example.test") is not None and web.asked == 20  # not at every mail


def test_what_another_process_has_fetched_is_fetched_once(process, clock):
    web = Web()
    first, own = process(web)
    first.find("example.test")
    own.now += REFRESH + 60
    clock.now += REFRESH + 60
    process(web)[0].find("example.test")
    assert web.asked == 2
    assert first.find("example.test") is not None and web.asked == 2


# -- counts ---------------------------------------------------------------------------------------------------------


def test_counts_add_up_over_processes_and_days_and_are_forgotten_in_time(state, clock):
    one = TlsCount("example.test", "sts", "", "mx.example.test", 1, LINES)
    counters = TlsCounters(state)
    for _ in range(3):
        counters.count("example.test", "sts", None, "mx.example.test", LINES)
    TlsCounters(TlsState(state.path.parent, clock=clock)).count("example.test", "sts", None, "mx.example.test", LINES)
    assert state.counts("2023-11-14") == (replace(one, sessions=4),)
    clock.now += DAY
    state.count(one)
    assert state.counts("2023-11-15") == (one,) and state.counts("2023-11-16") == ()
    clock.now += (KEPT_DAYS - 0.5) * DAY
    state.close()
    assert state.counts("2023-11-14") == () and state.counts("2023-11-15") == (one,)


WRITER = """
import os, signal, sys
from pathlib import Path
from mailpipe.net.tls_state import TlsCount, TlsState
state = TlsState(Path(sys.argv[1]))
for number in range(int(sys.argv[2])):
    state.count(TlsCount("example.test", "sts", "", "mx", 1))
    state.keep(f"d{number % 7}.test", str(number), "enforce", ("mx.test",), 86400)
    os.write(1, b".")
if sys.argv[3] == "kill":
    os.kill(os.getpid(), signal.SIGKILL)
"""


def today():
    return datetime.now(UTC).date().isoformat()


def test_several_processes_write_at_once(tmp_path):
    before = today()
    children = [subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path), "50", ""], stdout=subprocess.PIPE)
                for _ in range(4)]  # fmt: skip
    assert [child.communicate()[0] for child in children] == [b"." * 50] * 4
    with TlsState(tmp_path) as state:
        found = [one.sessions for day in {before, today()} for one in state.counts(day)]
        assert sum(found) == 200 and state.kept("d3.test").mode == "enforce"


@pytest.mark.parametrize("after", [1, 17])
def test_what_was_counted_and_kept_outlives_kill_9(tmp_path, after):
    before = today()
    ended = subprocess.run([sys.executable, "-c", WRITER, str(tmp_path), str(after), "kill"], capture_output=True)
    assert ended.returncode == -signal.SIGKILL and ended.stdout == b"." * after
    with TlsState(tmp_path) as state:
        assert sum(one.sessions for day in {before, today()} for one in state.counts(day)) == after
        assert state.kept(f"d{(after - 1) % 7}.test").ident == str(after - 1)


def test_a_child_does_not_touch_the_connection_of_its_parent(state):
    state.count(TlsCount("a.test", "sts", "", "", 1))
    child = os.fork()
    if not child:
        state.count(TlsCount("a.test", "sts", "", "", 1))
        state.close()
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    state.count(TlsCount("a.test", "sts", "", "", 1))
    assert [one.sessions for one in state.counts("2023-11-14")] == [3]


def test_a_damaged_or_later_file_is_told_with_a_remedy(tmp_path):
    TlsState(tmp_path / "a").close()
    with sqlite3.connect(tmp_path / "a" / NAME) as connection:
        connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(ConfigError, match="later version"):
        TlsState(tmp_path / "a")
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / NAME).write_bytes(b"no database " * 1000)
    with pytest.raises(OutputError, match="move it away"):
        TlsState(tmp_path / "b")
    (tmp_path / "file").touch()
    with pytest.raises(OutputError):
        TlsState(tmp_path / "file" / "state")


def test_no_mail_waits_for_what_cannot_be_remembered(state, caplog):
    state.close()
    state.path.unlink()
    state.path.mkdir()  # nobody can open that, root included
    state.count(TlsCount("a.test", "sts", "", "", 1))
    state.keep("a.test", "1", "enforce", (), 1)
    assert state.kept("a.test") is None and len(caplog.records) == 3
    with pytest.raises(OutputError):
        state.counts("2023-11-14")


def test_the_directories_are_for_nobody_else_to_read(state):
    assert [place.stat().st_mode & 0o777 for place in (state.path.parent, state.path.parent.parent)] == [0o700] * 2


# -- the report -----------------------------------------------------------------------------------------------------


def test_a_report_is_what_rfc_8460_asks_for(state):
    counters = TlsCounters(state)
    for _ in range(5):
        counters.count("example.test", "sts", None, "mx.example.test", LINES)
    counters.count("example.test", "sts", TlsProblem.CERTIFICATE_EXPIRED, "mx2.example.test", LINES)
    counters.count("example.test", "sts", TlsProblem.STS_POLICY_FETCH_ERROR)
    counters.count("example.test", "tlsa", None, "mx.example.test", ("3 1 1 00ff",))
    counters.count("other.test", "no-policy-found", None, "mx.other.test")
    counts = state.counts("2023-11-14")
    assert reported_domains(counts) == ("example.test", "other.test")
    report = tls_report("example.test", "2023-11-14", counts, organization="mx.example.org", contact="tls@example.org")
    assert json.loads(json.dumps(report)) == {
        "organization-name": "mx.example.org",
        "date-range": {"start-datetime": "2023-11-14T00:00:00Z", "end-datetime": "2023-11-14T23:59:59Z"},
        "contact-info": "tls@example.org",
        "report-id": "2023-11-14_example.test@mx.example.org",
        "policies": [
            {
                "policy": {"policy-type": "sts", "policy-domain": "example.test", "policy-string": list(LINES),
                           "mx-host": ["mx.example.test"]},
                "summary": {"total-successful-session-count": 5, "total-failure-session-count": 1},
                "failure-details": [{"result-type": "certificate-expired", "failed-session-count": 1,
                                     "receiving-mx-hostname": "mx2.example.test"}],
            },
            {
                "policy": {"policy-type": "sts", "policy-domain": "example.test"},
                "summary": {"total-successful-session-count": 0, "total-failure-session-count": 1},
                "failure-details": [{"result-type": "sts-policy-fetch-error", "failed-session-count": 1}],
            },
            {
                "policy": {"policy-type": "tlsa", "policy-domain": "example.test", "policy-string": ["3 1 1 00ff"]},
                "summary": {"total-successful-session-count": 1, "total-failure-session-count": 0},
            },
        ],
    }  # fmt: skip
