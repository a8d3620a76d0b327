"""What peers were found not to be able to do, so that it is not tried anew for each connection.

    known = KnownPeers(time.monotonic)
    known.note(endpoint, Lack.TLS)                  # a handshake failed where TLS was only wished for
    plan = known.adjusted(endpoint, plan)           # for a while: without it

Only what is given up anyway is remembered, and not for long: a peer may learn, and nobody may be talked out of TLS for
good by one broken handshake. What is required stays required.

Never here: what a peer can do; its own EHLO says so each time.
"""

import threading
from collections.abc import Callable
from dataclasses import replace
from enum import Enum

from mailpipe.net.endpoint import Endpoint
from mailpipe.smtp.opening import Opening, TlsMode

REMEMBERED = 600.0
"""Seconds for which a lack is believed to last."""

MOST = 10_000
"""LIMIT: peers that are remembered at a time; beyond them all are forgotten, which costs a few handshakes."""


class Lack(Enum):
    """What a peer cannot do."""

    TLS = "tls"
    """It offers STARTTLS, and the handshake fails (RFC 3207)."""

    EHLO = "ehlo"
    """It knows HELO only (RFC 5321 section 4.1.1.1)."""


class KnownPeers:
    """Shared by connections to many peers; may be used by several threads.

    Args:
        clock: seconds that never run backwards.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._until: dict[tuple[Endpoint, Lack], float] = {}
        self._lock = threading.Lock()

    def note(self, endpoint: Endpoint, lack: Lack) -> None:
        """A peer was found to lack something."""
        with self._lock:
            if len(self._until) >= MOST:
                self._until.clear()
            self._until[endpoint, lack] = self._clock() + REMEMBERED

    def adjusted(self, endpoint: Endpoint, plan: Opening) -> Opening:
        """A plan without what the peer lacks, where the plan can do without."""
        if plan.tls is TlsMode.OPPORTUNISTIC and self._lacks(endpoint, Lack.TLS):
            plan = replace(plan, tls=TlsMode.NEVER)
        needs_ehlo = plan.tls not in (TlsMode.OPPORTUNISTIC, TlsMode.NEVER) or plan.credentials or plan.xclient
        if not needs_ehlo and self._lacks(endpoint, Lack.EHLO):
            plan = replace(plan, says_helo=True)
        return plan

    def _lacks(self, endpoint: Endpoint, lack: Lack) -> bool:
        return self._clock() < self._until.get((endpoint, lack), 0.0)
