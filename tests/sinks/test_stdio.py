"""The sink stdout: octets as they are, and what happens when nobody reads them."""

import os
from pathlib import Path

import pytest

from mailpipe.archive.mbox import split
from mailpipe.errors import OutputError, TransientFailure
from mailpipe.sinks.stdio import StdoutSink


def sink(descriptor: int, **options: object) -> StdoutSink:
    made = StdoutSink(StdoutSink.Options.model_validate(options), descriptor)
    made.open()
    return made


def test_one_message_goes_out_octet_for_octet(tmp_path: Path, make_mail) -> None:
    octets = b"A: 1\r\n\r\n\0\xff" * 50_000
    with (tmp_path / "out").open("wb") as file:
        assert sink(file.fileno()).deliver(make_mail(octets)).reference == "-"
    assert (tmp_path / "out").read_bytes() == octets


def test_a_second_message_is_not_run_into_the_first(tmp_path: Path, make_mail) -> None:
    with (tmp_path / "out").open("wb") as file:
        target = sink(file.fileno())
        target.deliver(make_mail(b"A: 1\n"))
        with pytest.raises(TransientFailure, match='format = "mbox"'):
            target.deliver(make_mail(b"A: 2\n"))
    assert (tmp_path / "out").read_bytes() == b"A: 1\n"


def test_several_go_out_as_an_mbox(tmp_path: Path, make_mail) -> None:
    with (tmp_path / "out").open("wb") as file:
        target = sink(file.fileno(), format="mbox")
        for number in range(3):
            target.deliver(make_mail(b"A: %d\n\nFrom x\n" % number))
    assert len(list(split((tmp_path / "out").read_bytes(), "mboxrd"))) == 3


def test_a_reader_that_has_gone_is_a_transient_failure(make_mail) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    try:
        with pytest.raises(TransientFailure, match="has gone"):
            sink(writing).deliver(make_mail())
    finally:
        os.close(writing)


def test_a_full_device_is_an_output_error_that_passes(make_mail) -> None:
    descriptor = os.open("/dev/full", os.O_WRONLY)
    try:
        with pytest.raises(OutputError) as caught:
            sink(descriptor).deliver(make_mail())
    finally:
        os.close(descriptor)
    assert caught.value.is_full
