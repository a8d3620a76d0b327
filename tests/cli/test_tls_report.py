"""`mailpipe tls-report`: what was counted, as RFC 8460 has it."""

import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from mailpipe.net.tls_state import TlsCount, TlsState

Run = Callable[..., object]
FILE = """
[sink]
use = "smtp"
direct = true
helo_name = "mx.example.org"
[queue]
directory = "spool"
"""


def counted(folder: Path) -> str:
    (folder / "direct.toml").write_text(FILE)
    with TlsState(folder / "spool" / "state") as state:
        state.count(TlsCount("example.net", "sts", "", "mx.example.net", 3, ("version: STSv1",)))
        state.count(TlsCount("example.net", "sts", "certificate-expired", "mx.example.net", 1, ("version: STSv1",)))
    return datetime.now(UTC).date().isoformat()


def test_a_report_is_printed_as_it_is_sent(mailpipe: Run, folder: Path) -> None:
    day = counted(folder)
    ended = mailpipe("tls-report", "direct.toml", "--day", day, "--domain", "Example.NET", "--contact", "t@example.org")
    assert ended.code == 0, ended.err
    report = json.loads(ended.text)
    assert (report["organization-name"], report["contact-info"]) == ("mx.example.org", "t@example.org")
    assert report["policies"][0]["summary"] == {
        "total-successful-session-count": 3, "total-failure-session-count": 1
    }  # fmt: skip


def test_without_a_domain_all_are_listed(mailpipe: Run, folder: Path) -> None:
    day = counted(folder)
    ended = mailpipe("tls-report", "direct.toml", "--day", day)
    assert ended.code == 0 and "example.net" in ended.text and "certificate-expired" in ended.text
    document = json.loads(mailpipe("tls-report", "direct.toml", "--day", day, "--json").text)
    assert [one["report-id"] for one in document["reports"]] == [f"{day}_example.net@mx.example.org"]


def test_nothing_counted_is_a_finding_and_a_day_must_be_one(mailpipe: Run, folder: Path) -> None:
    counted(folder)
    assert mailpipe("tls-report", "direct.toml", "--day", "2001-01-01").code == 1
    assert mailpipe("tls-report", "direct.toml", "--day", "2001-01-01", "--domain", "x.test").code == 1
    assert mailpipe("tls-report", "direct.toml", "--day", "today").code == 64


def test_a_sink_that_counts_nothing_is_told(mailpipe: Run, folder: Path) -> None:
    (folder / "relay.toml").write_text('[sink]\nuse = "smtp"\nhost = "localhost"\n[queue]\ndirectory = "spool"\n')
    ended = mailpipe("tls-report", "relay.toml")
    assert ended.code == 78 and "direct = true" in ended.err
