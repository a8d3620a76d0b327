"""An archive file opened for reading: mapped, unpacked first where it is compressed.

    with open_mapped(path) as octets:       # bytes (empty file) or a read-only map
        for span in mbox.split(octets): ...

Compressed files (.gz .bz2 .xz .zst, known by their first octets) are unpacked into an unnamed temporary file, so that
memory stays flat and offsets can be read again.

Never here: what the octets mean.
"""

import bz2
import errno
import gzip
import lzma
import mmap
import os
import shutil
import stat
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any, cast

from mailpipe.errors import InputError

_MAGIC = {b"\x1f\x8b": "gzip", b"BZh": "bzip2", b"\xfd7zXZ\x00": "xz", b"\x28\xb5\x2f\xfd": "zstd"}
_DAMAGE = (EOFError, lzma.LZMAError, zlib.error, gzip.BadGzipFile, ValueError)


def compression_of(head: bytes) -> str:
    """The name of the compression that the first octets show; "" for none."""
    return next((name for magic, name in _MAGIC.items() if head.startswith(magic)), "")


def _open_zstd(path: str) -> IO[bytes]:
    try:
        from compression import zstd  # type: ignore[import-not-found,unused-ignore]  # Python 3.14
    except ImportError:
        try:
            import zstandard  # type: ignore[import-not-found,unused-ignore]  # an extra that few need
        except ImportError as error:
            reason = "is compressed with zstd, which needs Python 3.14 or the package zstandard; unpack it first"
            raise InputError(path, reason) from error
        return cast(IO[bytes], zstandard.open(path, "rb"))
    return cast(IO[bytes], zstd.open(path, "rb"))


def _open_unpacked(path: str, kind: str) -> IO[bytes]:
    openers: dict[str, Any] = {"gzip": gzip.open, "bzip2": bz2.open, "xz": lzma.open}
    return _open_zstd(path) if kind == "zstd" else cast(IO[bytes], openers[kind](path, "rb"))


def open_regular(path: str) -> IO[bytes]:
    """Open a regular file for reading, without a wait at a pipe that nobody writes to.

    Raises:
        InputError: it is missing, unreadable, a directory or a device.
    """
    try:
        # A FIFO would block until somebody writes; it is refused below.
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        raise InputError.from_os(path, error) from error
    mode = os.fstat(descriptor).st_mode
    if not stat.S_ISREG(mode):
        os.close(descriptor)
        if stat.S_ISDIR(mode):
            raise InputError(path, "is a directory; read it with the source maildir or eml")
        raise InputError(path, "is no regular file; pipe it into the source stdin")
    return os.fdopen(descriptor, "rb")


def read_head(path: str, size: int = 4096) -> bytes:
    """The first octets of a file, unpacked.

    Raises:
        InputError: it cannot be read or unpacked.
    """
    with open_regular(path) as file:
        try:
            head = file.read(size)
        except OSError as error:
            raise InputError.from_os(path, error) from error
    if not (kind := compression_of(head)):
        return head
    try:
        with _open_unpacked(path, kind) as unpacked:
            return unpacked.read(size)
    except (OSError, *_DAMAGE) as error:
        raise InputError(path, f"is damaged: the {kind} stream cannot be unpacked ({error})") from error


def open_unpacked(path: str) -> IO[bytes]:
    """Open a file so that its descriptor reads the archive's octets at their offsets.

    Returns:
        the file itself, or an unnamed temporary file where it was compressed.

    Raises:
        InputError: it cannot be read or unpacked, or there is no room to unpack it.
    """
    file = open_regular(path)
    kind = compression_of(os.pread(file.fileno(), 8, 0))
    if not kind:
        return file
    file.close()
    spool = cast(IO[bytes], tempfile.TemporaryFile(prefix="mailpipe-"))  # noqa: SIM115 - the caller closes it
    try:
        with _open_unpacked(path, kind) as unpacked:
            shutil.copyfileobj(unpacked, spool, 1 << 20)
        spool.flush()
    except OSError as error:
        spool.close()
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            reason = f"no room to unpack it in {tempfile.gettempdir()}; free some, or set TMPDIR to a larger place"
            raise InputError(path, reason) from error
        raise InputError(path, f"is damaged: the {kind} stream cannot be unpacked ({error})") from error
    except _DAMAGE as error:
        spool.close()
        raise InputError(path, f"is damaged: the {kind} stream cannot be unpacked ({error})") from error
    except BaseException:
        spool.close()
        raise
    return spool


@contextmanager
def map_file(file: IO[bytes]) -> Iterator[bytes | mmap.mmap]:
    """The octets of an open file: a read-only map, or b"" where it is empty."""
    if not os.fstat(file.fileno()).st_size:
        yield b""
        return
    mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    if hasattr(mmap, "MADV_SEQUENTIAL"):
        mapped.madvise(mmap.MADV_SEQUENTIAL)
    try:
        yield mapped
    finally:
        # A search that was broken off still holds the map; it goes with the last of them.
        with suppress(BufferError):
            mapped.close()


@contextmanager
def open_mapped(path: str | Path) -> Iterator[bytes | mmap.mmap]:
    """The octets of an archive, unpacked where it is compressed.

    Raises:
        InputError: it cannot be read or unpacked.
    """
    with open_unpacked(str(path)) as file, map_file(file) as octets:
        yield octets
