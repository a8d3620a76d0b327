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

Choice = Callable[[Recipient], bool]
"""Which recipients of a message are meant."""


def _everybody(_: Recipient) -> bool:
    return True


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

    def hold(self, *identifiers: str, only: Choice = _everybody) -> tuple[str, ...]:
        """Keep messages until they are released.

        Args:
            identifiers: which messages.
            only: which of their recipients.

        Returns:
            the ids of those that it changed.

        Raises:
            InputError: there is no message of that id.
        """
        waiting, held = RecipientState.WAITING, RecipientState.HELD
        return self._each(
            identifiers, only,
            lambda one: replace(one, state=held if one.state is waiting else one.state, next_try=None),
        )  # fmt: skip

    def release(self, *identifiers: str, only: Choice = _everybody) -> tuple[str, ...]:
        """Make held and in-doubt recipients due now; for the latter this is the word to send again.

        Args:
            identifiers: which messages.
            only: which of their recipients.

        Returns:
            the ids of those that it changed.

        Raises:
            InputError: there is no message of that id.
        """
        now, waiting = self._clock(), RecipientState.WAITING

        def released(one: Recipient) -> Recipient:
            if one.next_try is not None or not one.state.is_live:
                return one
            # no longer in doubt: that it may come twice was decided, and nobody is to ask again
            return replace(one, state=waiting, next_try=now)

        return self._each(identifiers, only, released)

    def requeue(self, *identifiers: str, only: Choice = _everybody) -> tuple[str, ...]:
        """Begin anew for every recipient that is not delivered, failed and expired ones too; due now.

        For those in doubt this is, like `release`, the word to send again.

        Args:
            identifiers: which messages.
            only: which of their recipients.

        Returns:
            the ids of those that it changed.

        Raises:
            InputError: there is no message of that id.
        """
        now, done, waiting = self._clock(), RecipientState.DELIVERED, RecipientState.WAITING
        return self._each(
            identifiers, only,
            lambda one: one if one.state is done else replace(one, state=waiting, attempts=0, next_try=now),
            since=now,
        )  # fmt: skip

    def bounce(
        self, *identifiers: str, reason: str = _RETURNED, only: Choice = _everybody
    ) -> tuple[str, ...]:
        """Give up every recipient that is not settled; the sender is told where the queue sends reports.

        Args:
            identifiers: which messages.
            reason: the words for the sender.
            only: which of their recipients.

        Returns:
            the ids of those that it changed.

        Raises:
            InputError: there is no message of that id.
            OutputError: it could not be recorded; `requeue` and `bounce` may be tried again.
        """
        def is_meant(one: Recipient) -> bool:
            return one.state.is_live and only(one)

        ended = tuple(
            identifier
            for identifier in self._known(identifiers)
            if any(is_meant(one) for one in self.show(identifier).recipients)
        )
        for identifier in ended:
            self._end(identifier, RecipientState.FAILED, reason, is_meant)
        return ended

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

    def remove(self, *identifiers: str, only: Choice = _everybody) -> tuple[str, ...]:
        """Delete messages for good.

        Args:
            identifiers: which messages.
            only: a message goes where these are all of its recipients that are not delivered, else it stays.

        Returns:
            the ids of those that are gone.

        Raises:
            InputError: there is no message of that id.
        """

        def decide(current: Entry) -> Entry | None:
            left = (one for one in current.recipients if one.state is not RecipientState.DELIVERED)
            return None if all(only(one) for one in left) else current

        gone = []
        for identifier in self._known(identifiers):
            if self._store.change(identifier, decide, self._clock()) is None:
                self._remove_content(identifier)
                gone.append(identifier)
        return tuple(gone)

    def _known(self, identifiers: Iterable[str]) -> tuple[str, ...]:
        return tuple(self.show(identifier).id for identifier in identifiers)

    def _each(
        self, identifiers: Iterable[str], only: Choice, change: Callable[[Recipient], Recipient],
        since: float | None = None,
    ) -> tuple[str, ...]:  # fmt: skip
        done = []

        def decide(current: Entry) -> Entry:
            changed = current.with_recipients(*(change(one) for one in current.recipients if only(one)))
            if changed != current:
                done.append(current.id)
                changed = changed if since is None else replace(changed, since=since)
            return changed

        for identifier in self._known(identifiers):
            self._store.change(identifier, decide, self._clock())
        return tuple(dict.fromkeys(done))
