"""Files that are whole and on disk, or not there at all.

    write_new(temporary, octets)             # made, written, synced; nothing is left when it fails
    publish(temporary, final)                # under its name at once; never over another file
    sync_directory(folder)                   # the name is on disk too
    confirm(final)                           # the same for a published file, which is withdrawn when it fails

Never here: locks, and the names of files.
"""

import contextlib
import errno
import mmap
import os

Buffer = bytes | bytearray | memoryview | mmap.mmap
_PIECE = 1 << 20

_NO_LINKS = (errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK)


def write_all(descriptor: int, octets: Buffer) -> None:
    """Write every octet, however many calls it takes.

    Args:
        descriptor: an open file.
        octets: bytes, a mapped file, or anything else with a buffer.

    Raises:
        OSError: it cannot be written.
    """
    with memoryview(octets) as view, view.cast("B") as rest:
        written = 0
        while written < len(rest):
            # small pieces let a signal through, and a full disk be noticed early
            written += os.write(descriptor, rest[written : written + _PIECE])


def write_new(path: str | os.PathLike[str], octets: bytes, *, sync: bool = True, mode: int = 0o600) -> None:
    """Make a file with these octets; nothing partial is left when it fails.

    Raises:
        OSError: it exists, or cannot be written.
    """
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    try:
        try:
            write_all(descriptor, octets)
            if sync:
                os.fsync(descriptor)
        finally:
            # Some file systems report a full disk only here.
            os.close(descriptor)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(path)  # noqa: PTH108 - paths are text here
        raise


def publish(
    temporary: str | os.PathLike[str], final: str | os.PathLike[str], *, is_unique: bool = False
) -> None:
    """Give a finished file its name, and take the temporary one away; never over another file.

    Args:
        temporary: the finished file.
        final: its name.
        is_unique: nobody else can choose that name, so that it needs no reservation where the file system has no links.

    Raises:
        FileExistsError: the name is taken; the temporary file is still there.
        OSError: it cannot be named; the temporary file is still there, and nothing is under its name.
    """
    try:
        os.link(temporary, final)
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        _rename(temporary, final, is_unique=is_unique)
        return
    # It is there under its name: whoever were told of a failure now would write it a second time.
    with contextlib.suppress(OSError):
        os.unlink(temporary)  # noqa: PTH108


def _rename(temporary: str | os.PathLike[str], final: str | os.PathLike[str], *, is_unique: bool) -> None:
    """QUIRK: file systems without links; an empty file reserves the name, and the rename replaces it."""
    if is_unique:
        os.rename(temporary, final)  # noqa: PTH104
        return
    reserved = os.open(final, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        os.close(reserved)
        os.rename(temporary, final)  # noqa: PTH104
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(final)  # noqa: PTH108
        raise


def confirm(final: str | os.PathLike[str]) -> None:
    """Put the name of a published file on disk, or withdraw the file: it must not come again and be there already.

    Raises:
        OSError: the disk failed; the file is gone.
    """
    try:
        sync_directory(os.path.dirname(final) or ".")  # noqa: PTH120 - paths are text here
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(final)  # noqa: PTH108
        raise


def sync_directory(path: str | os.PathLike[str]) -> None:
    """Put the names in a directory on disk.

    Raises:
        OSError: the disk failed; a file system that cannot sync a directory is no failure.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise
    finally:
        os.close(descriptor)
