"""The quarantine: a directory of messages that a person should look at, each beside the reason why.

    Quarantine(directory).keep(octets, origin, envelope, verdict_fields)     # writes 3f….eml and 3f….json, synced

The name is a digest of where the mail came from and of its octets: the same mail set aside again is the same file.

Never here: whether a mail belongs here.
"""

import json
import os
from collections.abc import Mapping
from dataclasses import asdict
from hashlib import blake2b
from pathlib import Path

from mailpipe.durable import sync_directory, write_new
from mailpipe.errors import OutputError
from mailpipe.pipeline.mail import Origin
from mailpipe.smtp.envelope import Envelope
from mailpipe.status import EnhancedStatus


class Quarantine:
    """One quarantine directory; made when the first mail comes.

    Attributes:
        directory: where the files lie.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def keep(
        self,
        octets: bytes,
        origin: Origin,
        envelope: Envelope | None,
        *,
        reason: str,
        status: EnhancedStatus,
        stage: str = "",
        defects: Mapping[str, int] | None = None,
    ) -> Path:
        """Set a mail aside; when this returns both files are on disk and synced.

        Args:
            octets: the message as it was when it was set aside.
            origin: where it came from.
            envelope: None where none was known yet.
            reason: one line.
            status: enhanced status code.
            stage: who decided, "" for the pipeline itself.
            defects: defect code → occurrences.

        Returns:
            the path of the message; the reason has the same name with ".json".

        Raises:
            OutputError: they cannot be written; the mail is not safe here.
        """
        name = blake2b(origin.key.encode("utf-8", "surrogateescape") + b"\0" + octets, digest_size=12).hexdigest()
        path = self.directory / f"{name}.eml"
        about = {
            "reason": reason,
            "status": str(status),
            "stage": stage,
            "origin": asdict(origin),
            "envelope": asdict(envelope) if envelope else None,
            "defects": dict(defects or {}),
            "size": len(octets),
        }
        try:
            self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            # the reason first: a message without its reason would never be understood
            _write(path.with_suffix(".json"), json.dumps(about, indent=1).encode() + b"\n")
            _write(path, octets)
            sync_directory(self.directory)
        except OSError as error:
            raise OutputError.from_os(str(path), error) from error
        return path


def _write(path: Path, octets: bytes) -> None:
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.unlink(missing_ok=True)  # of a process with the same number that was killed
    write_new(temporary, octets)
    temporary.replace(path)
