"""What a person does to messages in the queue.

    queue.hold(identifier), queue.release(identifier), queue.requeue(identifier), queue.remove(identifier)
    queue.bounce(identifier)                        # given up, and its sender told
    queue.answer(identifier, "delivered")           # what became of it was in doubt

Never here: arrivals, leases and attempts, which are the other half of `Queue`.
"""

from collections.abc import Callable, Iterable
from dataclasses import replace

from mailpipe.errors import InputError
from mailpipe.queue.entry import Entry, Recipient, RecipientFate, RecipientState
from mailpipe.queue.telling import Telling
from mailpipe.status import EnhancedStatus

_RETURNED = "returned by hand"


class ByHand(Telling):
    """The half of `Queue` that changes messages which are in it."""

    def show(self, identifier: str) -> Entry:
        """One message.

        Raises:
            InputError: there is no message of that id.
        """
        entry = self._store.get(identifier)
        if entry is None:
            raise InputError(
                self._store.place, f"there is no message {identifier!r}; `mailpipe queue list` shows those there are"
            )
        return entry

    def flush(self, *, route: str | None = None) -> int:
        """Make everything that waits due now; how many messages that changed. Held mail stays held."""
        return self._store.bring_forward(self._clock(), route)

    def hold(self, *identifiers: str) -> None:
        """Keep messages until they are released.

        Raises:
            InputError: there is no message of that id.
        """
        waiting, held = RecipientState.WAITING, RecipientState.HELD
        self._each(
            identifiers,
            lambda one: replace(one, state=held if one.state is waiting else one.state, next_try=None),
        )

    def release(self, *identifiers: str) -> None:
        """Make held and in-doubt recipients due now; for the latter this is the word to send again.

        Raises:
            InputError: there is no message of that id.
        """
        now, waiting = self._clock(), RecipientState.WAITING

        def released(one: Recipient) -> Recipient:
            if one.next_try is not None or not one.state.is_live:
                return one
            # no longer in doubt: that it may come twice was decided, and nobody is to ask again
            return replace(one, state=waiting, next_try=now)

        self._each(identifiers, released)

    def requeue(self, *identifiers: str) -> None:
        """Begin anew for every recipient that is not delivered, failed and expired ones too; due now.

        Raises:
            InputError: there is no message of that id.
        """
        now, done, waiting = self._clock(), RecipientState.DELIVERED, RecipientState.WAITING
        self._each(
            identifiers,
            lambda one: one if one.state is done else replace(one, state=waiting, attempts=0, next_try=now),
            since=now,
        )

    def bounce(self, *identifiers: str, reason: str = _RETURNED) -> None:
        """Give up every recipient that is not settled; the sender is told where the queue sends reports.

        Args:
            identifiers: which messages.
            reason: the words for the sender.

        Raises:
            InputError: there is no message of that id.
            OutputError: it could not be recorded; `requeue` and `bounce` may be tried again.
        """
        for identifier in self._known(identifiers):
            self._end(identifier, RecipientState.FAILED, reason, lambda one: one.state.is_live)

    def answer(self, identifier: str, fate: RecipientFate | str, address: str = "") -> tuple[Recipient, ...]:
        """Say what became of the recipients that are in doubt; they are not tried again.

        Args:
            identifier: which message.
            fate: "delivered" or "failed"; of a failure the sender is told where the queue sends reports.
            address: only this recipient; all of them where not given.

        Returns:
            the recipients that were settled.

        Raises:
            InputError: there is no message of that id, or nobody of that address is in doubt.
            ValueError: another fate.
        """
        if fate not in (RecipientFate.DELIVERED, RecipientFate.FAILED):
            raise ValueError(f"what was in doubt was delivered or failed, not {fate!r}")

        def is_meant(one: Recipient) -> bool:
            return one.state is RecipientState.IN_DOUBT and address in ("", one.address)

        meant = [one for one in self.show(identifier).recipients if is_meant(one)]
        if not meant:
            whom = f"recipient {address!r}" if address else "recipient"
            raise InputError(self._store.place, f"message {identifier} has no {whom} that is in doubt")
        self._end(identifier, RecipientState(fate), f"{fate}: so it was settled by hand", is_meant)
        return tuple(meant)

    def _end(
        self, identifier: str, state: RecipientState, words: str, is_meant: Callable[[Recipient], bool]
    ) -> None:
        now, status = self._clock(), EnhancedStatus(2 if state is RecipientState.DELIVERED else 5, 0, 0)

        def ended(one: Recipient) -> Recipient:
            said = f"{words} (before that: {one.diagnostic})" if one.diagnostic else words
            return replace(one, state=state, next_try=None, status=status, diagnostic=said, changed=now)

        self._move(
            identifier,
            lambda current, _: current.with_recipients(*(ended(one) for one in current.recipients if is_meant(one))),
            now,
        )

    def remove(self, *identifiers: str) -> None:
        """Delete messages for good.

        Raises:
            InputError: there is no message of that id.
        """
        for identifier in self._known(identifiers):
            self._store.change(identifier, lambda _: None, self._clock())
            self._remove_content(identifier)

    def _known(self, identifiers: Iterable[str]) -> tuple[str, ...]:
        return tuple(self.show(identifier).id for identifier in identifiers)

    def _each(
        self, identifiers: Iterable[str], change: Callable[[Recipient], Recipient], since: float | None = None
    ) -> None:
        def decide(current: Entry) -> Entry:
            changed = current.with_recipients(*(change(one) for one in current.recipients))
            return changed if since is None else replace(changed, since=since)

        for identifier in self._known(identifiers):
            self._store.change(identifier, decide, self._clock())
