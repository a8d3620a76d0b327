"""What a person does to messages in the queue, and the one place where a decision is told and recorded.

    queue.hold(identifier), queue.release(identifier), queue.requeue(identifier), queue.remove(identifier)
    queue.bounce(identifier)                        # given up, and its sender told
    queue.answer(identifier, "delivered")           # what became of it was in doubt

Never here: arrivals, leases and attempts, which are the other half of `Queue`.
"""

import hashlib
import logging
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from random import Random
from typing import IO, Any, Literal

from mailpipe.errors import InputError, OutputError
from mailpipe.queue.entry import Entry, Handover, Recipient, RecipientFate, RecipientResult, RecipientState
from mailpipe.queue.interface import Contents, QueueStore
from mailpipe.queue.notice import Reporter, Told, identifier_for, notices
from mailpipe.queue.policy import Policy
from mailpipe.queue.schedule import Schedule
from mailpipe.smtp.envelope import Envelope, ForwardPath
from mailpipe.status import EnhancedStatus

_log = logging.getLogger(__name__)
_RETURNED = "returned by hand"


class _Passing:
    """The octets of a message that is not kept."""

    def __init__(self, octets: bytes) -> None:
        self._octets = octets

    def exists(self) -> bool:
        return True

    def open(self, mode: Literal["rb"]) -> IO[bytes]:
        file = tempfile.TemporaryFile()  # noqa: SIM115 - whoever asks for it closes it
        file.write(self._octets)
        file.seek(0)
        return file


class ByHand:
    """The half of `Queue` that changes messages which are in it.

    Attributes:
        schedule: when a recipient is tried again.
    """

    schedule: Schedule
    _policy: Policy
    _reporter: Reporter | None
    _store: QueueStore
    _spool: Contents
    _clock: Callable[[], float]
    put: Callable[..., Any]

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

    def report(
        self, octets: bytes, envelope: Envelope, results: Sequence[RecipientResult], *, origin: str, route: str = ""
    ) -> None:
        """Tell the sender of a message that was settled without ever being in the queue, where it sends reports.

        About the same octets from the same origin a report is sent once.

        Args:
            octets: the message.
            envelope: from whom, to whom; the forward-paths are those of the results.
            results: delivered or failed.
            origin, route: see `Queue.put`.

        Raises:
            OutputError: a report of a failure could not be queued.
        """
        if self._reporter is None or not results or not envelope.reverse_path:
            return
        now, digest = self._clock(), hashlib.sha256(octets).hexdigest()
        fresh = tuple(Recipient(number, one.recipient, changed=now) for number, one in enumerate(results))
        before = Entry(
            identifier_for(f"{origin} {digest} {envelope}", 0), envelope.with_forward_paths(), fresh, origin, route,
            now, 0.0, len(octets), digest, _Passing(octets),
        )  # fmt: skip
        states = (RecipientState(one.fate) for one in results)
        ended = (
            replace(recipient, state=state, attempts=1, status=one.status, diagnostic=one.diagnostic)
            for recipient, state, one in zip(fresh, states, results, strict=True)
        )
        handovers = {one.recipient: one.handover for one in results}
        self._tell(before, before.with_recipients(*ended), now, handovers)

    @property
    def reports(self) -> bool:
        """Whether senders are told what becomes of their mail."""
        return self._reporter is not None

    # -- telling and recording --------------------------------------------------------------------------------------

    def _move(
        self, identifier: str, decide: Callable[[Entry, Policy], Entry], now: float,
        handovers: Mapping[ForwardPath, Handover] | None = None,
    ) -> Entry | None:
        """Tell whom it concerns, then record; None where there is no such message any more."""
        if self._reporter is not None and (current := self._store.get(identifier)) is not None:
            # What is told does not depend on chance, and chance is to be drawn once.
            self._tell(current, decide(current, replace(self._policy, chance=Random(0))), now, handovers or {})
        after = self._store.change(identifier, lambda current: decide(current, self._policy), now)
        if after is not None and all(one.state is RecipientState.DELIVERED for one in after.recipients):
            self._remove_content(identifier)
        return after

    def _tell(self, before: Entry, after: Entry, now: float, handovers: Mapping[ForwardPath, Handover]) -> None:
        """Queue the reports about what is going to be recorded; each once, however often it is tried to record."""
        assert self._reporter is not None
        schedule, nobody = self.schedule, ForwardPath("")
        to_whom = {
            one.position: handovers.get(one.forward_path or nobody, Handover.RELAYED) for one in after.recipients
        }
        for notice in notices(
            before, after, now, warn_after=schedule.warn_after, expire=schedule.expire, handovers=to_whom
        ):
            try:
                letter = self._reporter(notice)
            except Exception:  # noqa: BLE001 - a report that cannot be written must not have the message sent again and again
                _log.exception("no report could be written about %s (%s)", before.id, notice.told)
                continue
            if letter is None:
                continue
            origin = f"report on {before.id}: {notice.told}"
            try:
                self.put(letter.octets, letter.envelope, origin=origin, route=before.route, name=notice.name)
            except OutputError as error:
                if notice.told is Told.FAILED:
                    raise  # the failure is not recorded before its report is safe
                _log.warning("the report on %s (%s) could not be queued: %s", before.id, notice.told, error)

    def _remove_content(self, identifier: str) -> None:
        try:
            self._spool.remove(identifier)
        except OutputError as error:
            # The message is settled, that is what counts; doctor() finds the file and knows its id.
            _log.warning("a settled message's content stays on disk: %s", error)
