"""Where a decision about a message is told to its sender and recorded: both, or neither.

    after = self._move(identifier, decide, now)         # reports and states go into the queue in one transaction
    queue.report(octets, envelope, results, origin=...) # about a message that never was in the queue

The octets of a report are on disk before that transaction, its row comes about in it. So no crash tells a sender twice
of one recipient, or of a failure that the next attempt makes untrue.

Never here: the words of a report (`Reporter`), and what is decided.
"""

import contextlib
import hashlib
import logging
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import IO, Any, Literal

from mailpipe.errors import OutputError
from mailpipe.queue.entry import (
    Entry,
    Handover,
    Recipient,
    RecipientResult,
    RecipientState,
    forward_path_text,
    sender_text,
)
from mailpipe.queue.interface import Contents, QueueStore
from mailpipe.queue.notice import Letter, Notice, Reporter, Told, identifier_for, notices
from mailpipe.queue.policy import Policy
from mailpipe.queue.schedule import Schedule
from mailpipe.queue.spool import Octets, new_identifier
from mailpipe.smtp.envelope import Envelope, ForwardPath

_log = logging.getLogger(__name__)


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


class _Changed(Exception):
    """Somebody else changed the message since it was read."""


@dataclass(frozen=True, slots=True)
class _Written:
    """A report that is to be queued."""

    notice: Notice
    letter: Letter

    @property
    def is_needed(self) -> bool:
        """Whether nothing may be recorded before it is safe."""
        return self.notice.told is Told.FAILED


class Telling:
    """The part of `Queue` through which every decision goes.

    Attributes:
        schedule: when a recipient is tried again.
    """

    schedule: Schedule
    _policy: Policy
    _reporter: Reporter | None
    _store: QueueStore
    _spool: Contents
    _clock: Callable[[], float]

    @property
    def reports(self) -> bool:
        """Whether senders are told what becomes of their mail."""
        return self._reporter is not None

    def report(
        self, octets: bytes, envelope: Envelope, results: Sequence[RecipientResult], *, origin: str, route: str = ""
    ) -> None:
        """Tell the sender of a message that was settled without ever being in the queue, where it sends reports.

        About a fate of one recipient of the same octets from the same origin a report is sent once, within a week.

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
        sender = envelope.with_forward_paths()
        before = Entry(
            identifier_for(f"{origin} {digest} {sender_text(sender)}"), sender, fresh, origin, route, now, 0.0,
            len(octets), digest, _Passing(octets),
        )  # fmt: skip
        states = (RecipientState(one.fate) for one in results)
        ended = (
            replace(recipient, state=state, attempts=1, status=one.status, diagnostic=one.diagnostic)
            for recipient, state, one in zip(fresh, states, results, strict=True)
        )
        handovers = {one.recipient: one.handover for one in results}
        for written in self._write(before, before.with_recipients(*ended), now, handovers, is_once=True):
            marks = [_mark(written.notice, one) for one in written.notice.recipients]
            try:
                with self._report_arriving(written, now) as entry:
                    self._store.add(entry, marks)
            except OutputError as error:
                if written.is_needed:
                    raise
                _could_not_be_queued(written, error)

    def _move(
        self, identifier: str, decide: Callable[[Entry, Policy], Entry], now: float,
        handovers: Mapping[ForwardPath, Handover] | None = None,
    ) -> Entry | None:
        """Tell whom it concerns, and record; None where there is no such message any more."""
        if self._reporter is None:
            after = self._store.change(identifier, lambda current: decide(current, self._policy), now)
        else:
            after = self._told_and_recorded(identifier, decide, now, handovers or {})
        if after is not None and all(one.state is RecipientState.DELIVERED for one in after.recipients):
            self._remove_content(identifier)
        return after

    def _told_and_recorded(
        self, identifier: str, decide: Callable[[Entry, Policy], Entry], now: float,
        handovers: Mapping[ForwardPath, Handover],
    ) -> Entry | None:
        while (before := self._store.get(identifier)) is not None:
            after = decide(before, self._policy)
            reports = list(self._write(before, after, now, handovers))
            try:
                try:
                    self._record(before, after, reports, now)
                except OutputError as error:
                    needed = [written for written in reports if written.is_needed]
                    if len(needed) == len(reports):
                        raise
                    # That a delivery cannot be told is no reason to forget that it was one.
                    self._record(before, after, needed, now)
                    for written in reports:
                        if not written.is_needed:
                            _could_not_be_queued(written, error)
            except _Changed:
                continue
            return after
        return None

    def _record(self, before: Entry, after: Entry, reports: Iterable[_Written], now: float) -> None:
        """Record a decision and its reports, all or nothing.

        Raises:
            OutputError: neither is recorded.
            _Changed: neither is recorded, since the message is not what it was.
        """

        def decided(current: Entry) -> Entry:
            if current != before:
                raise _Changed
            return after

        kept = contextlib.ExitStack()
        arrivals: list[Entry] = []
        try:
            arrivals.extend(kept.enter_context(self._report_arriving(written, now)) for written in reports)
            if self._store.change(before.id, decided, now, arrivals) is None:
                raise _Changed
        except BaseException as error:
            # Also where somebody interrupts us behind the commit.
            is_asked = bool(arrivals) and not isinstance(error, _Changed)
            has_happened = self._store.has_come(arrivals[0].id) if is_asked else False
            if has_happened is False:
                kept.__exit__(type(error), error, error.__traceback__)
            else:
                # Where nobody can say now, octets too many harm less than octets too few.
                kept.close()
            if not has_happened or not isinstance(error, Exception):
                raise
        else:
            kept.close()

    def _write(
        self, before: Entry, after: Entry, now: float, handovers: Mapping[ForwardPath, Handover], *,
        is_once: bool = False,
    ) -> Iterator[_Written]:  # fmt: skip
        """The reports that are due when a message goes from one state to the next.

        Args:
            before, after, now: the change.
            handovers: who has what was delivered.
            is_once: leave out who is marked as told.
        """
        assert self._reporter is not None
        schedule, nobody = self.schedule, ForwardPath("")
        to_whom = {
            one.position: handovers.get(one.forward_path or nobody, Handover.RELAYED) for one in after.recipients
        }
        for notice in notices(
            before, after, now, warn_after=schedule.warn_after, expire=schedule.expire, handovers=to_whom
        ):
            if is_once:
                left = tuple(one for one in notice.recipients if not self._store.is_gone(_mark(notice, one)))
                notice = replace(notice, recipients=left)
            if not notice.recipients:
                continue
            try:
                letter = self._reporter(notice)
            except Exception:  # noqa: BLE001 - a report that cannot be written must not have the message sent again and again
                _log.exception("no report could be written about %s (%s)", before.id, notice.told)
                continue
            if letter is not None:
                yield _Written(notice, letter)

    def _report_arriving(self, written: _Written, now: float) -> contextlib.AbstractContextManager[Entry]:
        about, envelope = written.notice.entry, written.letter.envelope
        return self._arriving(
            written.letter.octets, envelope, self._policy.arrive(envelope, (), (), now),
            f"report on {about.id}: {written.notice.told}", about.route, now,
        )  # fmt: skip

    @contextlib.contextmanager
    def _arriving(
        self, octets: Octets | Iterable[bytes], envelope: Envelope, recipients: tuple[Recipient, ...], origin: str,
        route: str, now: float,
    ) -> Iterator[Entry]:  # fmt: skip
        """Keep the octets of a new message while the block records it; if that raises, they are taken away."""
        identifier, sender = new_identifier(now), envelope.with_forward_paths()
        record: dict[str, Any] = {
            "id": identifier, "sender": sender_text(sender), "origin": origin, "route": route, "created": now,
            "recipients": [forward_path_text(one.forward_path) for one in recipients],
        }
        with self._spool.keep(identifier, octets, record) as kept:
            yield Entry(identifier, sender, recipients, origin, route, now, now, kept.size, kept.digest, kept.path)

    def _remove_content(self, identifier: str) -> None:
        try:
            self._spool.remove(identifier)
        except OutputError as error:
            # The message is settled, that is what counts; doctor() finds the file and knows its id.
            _log.warning("a settled message's content stays on disk: %s", error)


def _mark(notice: Notice, recipient: Recipient) -> str:
    """The id that says that this was told; one of those that are gone."""
    return identifier_for(f"{notice.entry.id} {notice.told.value} {forward_path_text(recipient.forward_path)}")


def _could_not_be_queued(written: _Written, error: OutputError) -> None:
    _log.warning("the report on %s (%s) could not be queued: %s", written.notice.entry.id, written.notice.told, error)
