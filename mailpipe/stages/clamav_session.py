"""A session with clamd: octets go in by INSTREAM, a word comes back (clamd(8), "COMMANDS").

    session = ClamdSession(Endpoint("/run/clamav/clamd.ctl"), timeout=60)
    session.scan(octets)        # "", or the name of what was found
    session.close()

One connection serves many scans (IDSESSION). One that clamd has closed meanwhile, as it does after some seconds of
silence, is opened again without a word.

Never here: what is done about what was found.
"""

import struct

from mailpipe.errors import MailpipeError, RemoteProtocolError, TransientFailure
from mailpipe.net.endpoint import Endpoint
from mailpipe.net.stream import Stream
from mailpipe.status import EnhancedStatus
from mailpipe.units import duration_text

CHUNK = 1 << 16
"""Octets of one chunk of INSTREAM."""
REPLY_LIMIT = 10_000
"""LIMIT: octets of a reply; clamd's are a line."""
_SIZE = struct.Struct(">I")


class TooLarge(MailpipeError):
    """Clamd takes no more octets than its StreamMaxLength."""


class _Over(Exception):
    """The connection ended without a reply."""


class ClamdSession:
    """Asks one clamd, over one connection that is opened when it is needed.

    Args:
        endpoint: TCP or a UNIX socket.
        timeout: seconds for one scan, connecting included.
    """

    def __init__(self, endpoint: Endpoint, timeout: float) -> None:
        self._endpoint, self._timeout = endpoint, timeout
        self._stream: Stream | None = None
        self._number = 0

    def close(self) -> None:
        """End the session."""
        stream, self._stream = self._stream, None
        if stream is not None:
            stream.close()

    def scan(self, octets: bytes) -> str:
        """The name of what clamd finds in these octets, "" where it finds nothing.

        Raises:
            TooLarge: they are more than clamd takes.
            TransientFailure: it cannot be reached, takes too long, or cannot scan.
            RemoteProtocolError: it says what is no reply.
        """
        deadline = Stream.deadline(self._timeout)
        is_kept = self._stream is not None
        try:
            try:
                reply = self._ask(octets, deadline)
            except _Over:
                self.close()
                if not is_kept:
                    raise
                reply = self._ask(octets, deadline)  # it had closed the old one while nothing was said
        except TimeoutError as error:
            self.close()
            words = f"clamd at {self._endpoint} gave no answer within {duration_text(self._timeout)}"
            raise TransientFailure(words, EnhancedStatus(4, 4, 1)) from error
        except (_Over, OSError, UnicodeError) as error:
            self.close()
            words = f"clamd at {self._endpoint}: {error}; is it running, and is the stage's address right?"
            raise TransientFailure(words, EnhancedStatus(4, 4, 1)) from error
        return self._read(reply)

    def _read(self, reply: bytes) -> str:
        said = reply.decode("utf-8", "replace").removeprefix(f"{self._number}: ")
        words = said.removeprefix("stream: ")
        if said == "stream: OK":
            return ""
        if words != said and words.endswith(" FOUND"):
            return words.removesuffix(" FOUND")
        self.close()
        if "size limit exceeded" in said:
            raise TooLarge(f"clamd at {self._endpoint} takes no more octets than its StreamMaxLength")
        if said.endswith("ERROR"):
            complaint = words.removesuffix("ERROR").rstrip(" .")
            raise TransientFailure(f"clamd at {self._endpoint} could not scan: {complaint}", EnhancedStatus(4, 3, 0))
        raise RemoteProtocolError(f"clamd at {self._endpoint} answered {reply[:200]!a}")

    def _ask(self, octets: bytes, deadline: float) -> bytes:
        """One scan, as far as the reply without its NUL.

        Raises:
            _Over: the connection ended first.
            OSError: no connection, or the time is over.
        """
        stream = self._stream
        if stream is None:
            stream = self._stream = Stream.connect(self._endpoint, self._timeout)
            self._number = 0
            stream.write(b"zIDSESSION\0", self._timeout)
        self._number += 1
        reply = b""
        try:
            stream.write(b"zINSTREAM\0", self._left(deadline))
            for start in range(0, len(octets), CHUNK):
                # it complains of the size before it has seen all
                if (said := stream.waiting()) is not None:
                    reply = said
                    break
                chunk = octets[start : start + CHUNK]
                stream.write(_SIZE.pack(len(chunk)) + chunk, self._left(deadline))
            else:
                stream.write(_SIZE.pack(0), self._left(deadline))
        except (BrokenPipeError, ConnectionResetError):
            reply = stream.waiting() or b""
            if not reply:
                raise _Over("it closed the connection while the message was sent") from None
        while b"\0" not in reply:
            try:
                said = stream.read(deadline)
            except ConnectionResetError:
                said = b""
            if not said:
                raise _Over("it closed the connection without an answer")
            reply += said
            if len(reply) > REPLY_LIMIT:
                self.close()
                raise RemoteProtocolError(f"clamd at {self._endpoint} sends an answer without end")
        return reply.partition(b"\0")[0]

    @staticmethod
    def _left(deadline: float) -> float:
        return max(Stream.seconds_to(deadline), 0.001)
