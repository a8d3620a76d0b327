"""The sink eml: one file a mail, never over another."""

import hashlib
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mailpipe.errors import OutputError
from mailpipe.sinks.eml import EmlSink
from mailpipe.sources.eml import EmlSource


def sink(directory: Path, **options: object) -> EmlSink:
    made = EmlSink(EmlSink.Options.model_validate({"directory": str(directory), **options}))
    made.open()
    return made


def names(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


def test_files_are_numbered_and_numbering_goes_on(tmp_path: Path, make_mail) -> None:
    first = sink(tmp_path / "out")
    for _ in range(2):
        first.deliver(make_mail())
    (tmp_path / "out" / "000007.eml").write_bytes(b"mine")
    receipt = sink(tmp_path / "out").deliver(make_mail(b"A: 1\n"))
    assert names(tmp_path / "out") == ["000001.eml", "000002.eml", "000007.eml", "000008.eml"]
    assert Path(receipt.reference).read_bytes() == b"A: 1\n"
    assert (tmp_path / "out" / "000007.eml").read_bytes() == b"mine"


def test_a_name_that_appears_meanwhile_is_not_taken(tmp_path: Path, make_mail) -> None:
    target = sink(tmp_path)
    (tmp_path / "000001.eml").write_bytes(b"mine")
    target.deliver(make_mail())
    assert names(tmp_path) == ["000001.eml", "000002.eml"]
    assert (tmp_path / "000001.eml").read_bytes() == b"mine"


def test_digest_and_message_id_make_names(tmp_path: Path, make_mail) -> None:
    octets = b"Message-ID: <../../etc/a b@example.org>\n\nx\n"
    sink(tmp_path / "a", name="{digest}.eml").deliver(make_mail(octets))
    assert names(tmp_path / "a") == [hashlib.sha256(octets).hexdigest() + ".eml"]
    target = sink(tmp_path / "b", name="{message_id}.eml")
    for _ in range(3):
        target.deliver(make_mail(octets))
    assert names(tmp_path / "b") == ["_.._etc_a_b@example.org-2.eml", "_.._etc_a_b@example.org-3.eml", "_.._etc_a_b@example.org.eml"]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(identifier=st.binary(max_size=300).filter(lambda octets: b"\n" not in octets))
def test_no_message_id_leads_out_of_the_directory(tmp_path_factory, make_mail, identifier: bytes) -> None:
    directory = tmp_path_factory.mktemp("eml")
    octets = b"Message-ID: " + identifier + b"\n\nx\n"
    receipt = sink(directory, name="{message_id}.eml", sync=False).deliver(make_mail(octets))
    assert Path(receipt.reference).parent == directory
    assert [mail.octets for mail in EmlSource(EmlSource.Options.model_validate({"path": str(directory)}))] == [octets]


@pytest.mark.parametrize("template", ["same.eml", "{date}.eml", "a/{number}.eml", ".{number}", "{nombre}", "{number", "{number.real}", "{0}"])
def test_templates_that_make_no_good_names_are_refused(tmp_path: Path, template: str) -> None:
    with pytest.raises(ValueError, match="name"):
        EmlSink.Options.model_validate({"directory": str(tmp_path), "name": template})


def test_a_full_disk_leaves_nothing_behind(tmp_path: Path, full_disk_script: str) -> None:
    arguments = ["mailpipe.sinks.eml", "EmlSink", "directory", str(tmp_path / "out")]
    run = subprocess.run([sys.executable, "-c", full_disk_script, *arguments], capture_output=True, text=True)
    assert run.stdout.startswith("refused"), run.stderr
    assert names(tmp_path / "out") == ["000001.eml"]


def test_a_place_that_cannot_be_made_is_an_output_error(blocked: Path) -> None:
    with pytest.raises(OutputError, match="cannot write"):
        sink(blocked)
