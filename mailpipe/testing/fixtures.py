"""pytest fixtures for whoever tests something that sends mail.

    # conftest.py
    pytest_plugins = ["mailpipe.testing.fixtures"]

    def test_a_full_mailbox_is_tried_again(scripted_peer):
        peer = scripted_peer(Fault("RCPT", "reply", "452 4.2.2 full", times=1))

Never here: the peer itself, and assertions about a plugin.
"""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from mailpipe.testing.peer import ScriptedPeer
from mailpipe.testing.script import Fault

MakePeer = Callable[..., ScriptedPeer]


@pytest.fixture
def scripted_peer() -> Iterator[MakePeer]:
    """Makes peers that listen until the test ends; takes what `ScriptedPeer` takes.

    A test in which a client did what no client should do fails at its end, with the words of `peer.violations`. A test
    that provokes it empties that list.
    """
    made: list[ScriptedPeer] = []

    def make(*faults: Fault, **options: Any) -> ScriptedPeer:
        peer = ScriptedPeer(*faults, **options)
        peer.start()
        made.append(peer)
        return peer

    yield make
    for peer in made:
        peer.stop()
    violations = [words for peer in made for words in peer.violations]
    assert not violations, f"what no client should do: {'; '.join(violations)}"
