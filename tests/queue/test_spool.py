import os
import random

import pytest

from mailpipe.errors import InputError, OutputError
from mailpipe.queue.spool import SHARDS, Spool, is_busy, new_identifier


@pytest.fixture
def spool(tmp_path):
    return Spool(tmp_path / "content")


def files(spool):
    return [path for path in spool.directory.rglob("*") if path.is_file()]


def keep(spool, octets, identifier="0abc"):
    with spool.keep(identifier, octets, {"id": identifier}) as kept:
        return kept


@pytest.mark.parametrize("octets", [b"", b"x", b"\x00\xff\r\n.\r\n" * 999, os.urandom(3_000_000)], ids=len)
def test_octets_come_back_and_so_does_the_record(spool, octets):
    kept = keep(spool, octets)
    size, record = spool.read_record("0abc")
    assert kept.path.read_bytes()[:size] == octets and size == kept.size == len(octets)
    assert record == {"id": "0abc", "digest": kept.digest}
    assert spool.digest("0abc", size) == kept.digest


def test_pieces_are_written_as_they_come(spool):
    kept = keep(spool, (piece for piece in (b"one", b"", b"two", b"three" * 500_000)))
    assert kept.path.read_bytes()[: kept.size] == b"onetwo" + b"three" * 500_000


def test_memory_in_other_shapes_is_taken(spool):
    keep(spool, bytearray(b"abc"), "0a")
    keep(spool, memoryview(b"abc"), "0b")
    assert spool.digest("0a", 3) == spool.digest("0b", 3)


def test_directories_are_private(spool):
    modes = {path.stat().st_mode & 0o777 for path in (spool.directory, *spool.directory.iterdir())}
    assert modes == {0o700} and keep(spool, b"x").path.stat().st_mode & 0o777 == 0o600


def test_identifiers_are_ordered_by_time_and_never_the_same():
    names = [new_identifier(second) for second in range(0, 2_000_000_000, 1_000_000)]
    assert names == sorted(names) and {len(name) for name in names} == {20}
    assert len({new_identifier(1.0) for _ in range(10_000)}) == 10_000
    assert {letter for name in names for letter in name} <= set(SHARDS)


def test_a_file_is_busy_until_its_block_ends(spool):
    with spool.keep("0abc", b"x", {}) as kept:
        assert is_busy(kept.path)
    assert not is_busy(kept.path) and not is_busy(spool.path("0nothing"))


def test_a_block_that_raises_leaves_no_file(spool):
    with pytest.raises(KeyError), spool.keep("0abc", b"x", {}):
        raise KeyError
    assert files(spool) == []


def test_pieces_that_raise_leave_no_file_and_keep_their_exception(spool):
    def pieces():
        yield b"half of a message"
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        keep(spool, pieces())
    assert files(spool) == []


@pytest.mark.parametrize("name", ["open", "write", "fsync", "rename"])
def test_no_fault_leaves_a_file_or_a_false_success(spool, faults, code, name):
    octets, number = os.urandom(2_500_000), 0
    while True:
        number += 1
        faults.arm(name, number, code)
        try:
            keep(spool, octets)
            break
        except OutputError as error:
            assert error.is_full == (code in (28, 122)) and error.exit_code == (75 if error.is_full else 73)
        finally:
            faults.disarm()
        assert files(spool) == []
    # The run without a fault came after every call had failed once.
    assert number > {"open": 2, "write": 4, "fsync": 2, "rename": 1}[name]
    assert len(files(spool)) == 1


def test_a_fault_that_also_hits_the_tidying_is_no_success_either(spool, faults, code):
    faults.arm("fsync", 1, code)
    faults.arm("unlink", 1, code, then_all=True)
    with pytest.raises(OutputError):
        keep(spool, b"x")
    faults.disarm()
    assert [path.suffix for path in files(spool)] == [".part"]
    assert list(spool.identifiers()) == [] and [path.name for path in spool.unfinished()] == ["0abc.part"]


def test_short_writes_are_continued(spool, monkeypatch):
    real = os.write
    monkeypatch.setattr(os, "write", lambda descriptor, octets: real(descriptor, octets[:7]))
    assert keep(spool, b"0123456789" * 10).path.read_bytes().startswith(b"0123456789" * 10)


def test_a_damaged_file_has_no_record(spool):
    path = keep(spool, os.urandom(500)).path
    whole = path.read_bytes()
    chance = random.Random(3)
    for octets in [b"", whole[:-1], whole[1:], whole + b"x", whole[:300]] + [
        whole[: chance.randrange(len(whole))] for _ in range(50)
    ]:
        path.write_bytes(octets)
        with pytest.raises(InputError):
            spool.read_record("0abc")


def test_removing_twice_is_no_trouble_and_a_fault_is_told(spool, faults, code):
    keep(spool, b"x")
    faults.arm("unlink", 1, code)
    with pytest.raises(OutputError):
        spool.remove("0abc")
    faults.disarm()
    spool.remove("0abc")
    spool.remove("0abc")
    assert files(spool) == []
