"""Signs of life of whoever has mail in hand: without them others would take it over in the middle of an attempt.

    with Heart(queue) as heart:
        heart.begin(entry)
        …                           # an attempt takes as long as it takes
        heart.end(entry)

A thread of its own gives them, so that a server that is slow to answer keeps nobody from seeing that we live.

Never here: leases themselves (`mailpipe.queue.queue`).
"""

import logging
import threading

from mailpipe.errors import MailpipeError
from mailpipe.queue.entry import Entry
from mailpipe.queue.queue import Queue

_log = logging.getLogger(__name__)

BEAT = 5.0
"""Seconds between two signs of life: a look at a socket or a file, and a write once in half a lease."""


class Heart:
    """Beats for every entry that is in hand; may be used by several threads."""

    def __init__(self, queue: Queue) -> None:
        self._queue = queue
        self._entries: dict[str, Entry] = {}  # by their leases
        self._is_over = threading.Event()
        self._thread: threading.Thread | None = None

    def __enter__(self) -> "Heart":
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        if self._thread is not None:
            self._thread.join(BEAT)  # a database that does not answer keeps nobody from ending

    def begin(self, entry: Entry) -> None:
        """An entry is in hand."""
        self._entries[entry.lease] = entry
        if self._thread is None:
            self._thread = threading.Thread(target=self._beat, name="mailpipe-lease", daemon=True)
            self._thread.start()

    def end(self, entry: Entry) -> None:
        """It is not any more."""
        self._entries.pop(entry.lease, None)

    def _beat(self) -> None:
        while not self._is_over.wait(BEAT):
            for entry in list(self._entries.values()):
                if self._is_over.is_set():
                    return
                try:
                    is_ours = self._queue.stay(entry)
                except MailpipeError as error:
                    _log.warning("%s is being delivered, and others cannot be told so: %s", entry.id, error)
                    continue
                if not is_ours and self._entries.pop(entry.lease, None) is not None:
                    words = "%s was taken over or removed by somebody else while it is being delivered"
                    _log.warning(words, entry.id)
