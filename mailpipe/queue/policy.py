"""What becomes of a recipient: when it arrives, after an attempt, and when an attempt was cut short.

    policy = Policy(Schedule.parse("5m, 1h"), resends=True, chance=Random())
    after = policy.settle(current, entry, results, now)         # Entry in, Entry out

Never here: the database and files. Everything is values in, values out, so that it can be tested by the thousand.
"""

from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, replace
from random import Random

from mailpipe.queue.entry import (
    Entry,
    Recipient,
    RecipientFate,
    RecipientResult,
    RecipientState,
    late_marks,
    return_by,
)
from mailpipe.queue.schedule import Schedule
from mailpipe.smtp.envelope import Envelope, ForwardPath
from mailpipe.status import EnhancedStatus

Reason = tuple[EnhancedStatus, str]
"""Why a recipient waits: enhanced status and diagnostic."""

_NO_RESULT = (RecipientFate.DEFERRED, EnhancedStatus(4, 3, 0), "the transport gave no result for this recipient")
_CUT_SHORT = (EnhancedStatus(4, 4, 2), "the delivery ended before a final reply was recorded")
_QUESTION = "was it delivered? settle it, release it or remove it"


@dataclass(frozen=True, slots=True)
class Policy:
    """How the queue decides.

    Attributes:
        schedule: when a recipient is tried again and when it is given up.
        resends: a recipient in doubt is sent again; else it waits for a human.
        chance: where the schedule's jitter comes from.
        asks: whoever looks at a recipient that waits for a human reads what there is to decide.
    """

    schedule: Schedule
    resends: bool
    chance: Random
    asks: bool = False

    def arrive(
        self,
        envelope: Envelope,
        reasons: Sequence[Reason] | Mapping[str, Reason],
        in_doubt: Container[str | ForwardPath],
        now: float,
    ) -> tuple[Recipient, ...]:
        """The recipients of a message that is put in; one nameless where the envelope has none.

        Raises:
            ValueError: there are neither as many reasons as recipients, nor one, nor none.
        """
        paths: tuple[ForwardPath | None, ...] = envelope.forward_paths or (None,)
        marks = late_marks(envelope.parameters, now, now, self.schedule.warn_after)
        until = return_by(envelope.parameters, now)
        again = self.schedule.next_try(1, now, now, self.chance, marks=marks, until=until)
        recipients = []
        for position, path in enumerate(paths):
            reason = _reason(reasons, position, path, len(paths))
            is_in_doubt = path is not None and (path in in_doubt or path.address in in_doubt)
            if reason is None and not is_in_doubt:
                recipients.append(Recipient(position, path, next_try=now, changed=now))
                continue
            status, diagnostic = reason or _CUT_SHORT
            state = RecipientState.IN_DOUBT if is_in_doubt else RecipientState.WAITING
            moment = None if is_in_doubt and not self.resends else again
            diagnostic = self._asked(diagnostic) if is_in_doubt else diagnostic
            recipients.append(Recipient(position, path, state, 1, moment, status, diagnostic, now))
        return tuple(recipients)

    def settle(self, current: Entry, entry: Entry, results: Sequence[RecipientResult], now: float) -> Entry:
        """The message after an attempt.

        Args:
            current: as it stands now.
            entry: as it was leased.
            results: what the transport says; a recipient that it does not mention counts as deferred.
            now: the moment.
        """
        is_ours = current.lease == entry.lease
        assigned = _assign(entry, results)
        leased = {one.position: one for one in entry.recipients}
        moments: dict[int, float | None] = {}
        changed = []
        for one in current.recipients:
            if one.position not in assigned or one.state is RecipientState.DELIVERED:
                continue
            fate, status, diagnostic = assigned[one.position]
            # Somebody took us for dead, and nobody has tried since: this is the word that was missing.
            is_missed = not current.lease and self._is_cut_short(leased[one.position], one)
            tried = _tried(replace(one, attempts=one.attempts - 1) if is_missed else one, status, diagnostic, now)
            if fate is RecipientFate.DELIVERED:
                changed.append(replace(tried, state=RecipientState.DELIVERED))
            elif fate is RecipientFate.FAILED and one.state.is_live:
                changed.append(replace(tried, state=RecipientState.FAILED))
            elif (is_ours or is_missed) and one.state.is_live:
                if tried.attempts not in moments:
                    # One draw for all, so that recipients that waited together go on together.
                    moments[tried.attempts] = self._next_try(current, tried, now)
                is_in_doubt = fate is RecipientFate.IN_DOUBT
                changed.append(self._put_off(tried, moments[tried.attempts], is_in_doubt=is_in_doubt))
        after = current.with_recipients(*changed)
        return replace(after, lease="", leased_until=None) if is_ours else after

    @staticmethod
    def _is_cut_short(leased: Recipient, current: Recipient) -> bool:
        """Whether the one thing that happened since the lease is that its attempt was thought cut short."""
        status, words = _CUT_SHORT
        return (
            current.state is RecipientState.IN_DOUBT and current.attempts == leased.attempts + 1
            and current.status == status and current.diagnostic.startswith(words)
        )  # fmt: skip

    def cut_short(self, current: Entry, now: float) -> Entry:
        """The message after its process died or its lease expired: what was begun is in doubt."""
        ended = []
        for one in current.recipients:
            if not one.is_attempted:
                continue
            tried = _tried(one, *_CUT_SHORT, now)
            if any(one.changed < mark <= now for mark in current.late_marks(self.schedule.warn_after)):
                tried = replace(tried, changed=one.changed)  # nobody was told of the delay yet
            # By the schedule, not at once: this may be the message that the process died of.
            moment = self._next_try(current, tried, now)
            ended.append(self._put_off(tried, moment, is_in_doubt=True))
        return replace(current.with_recipients(*ended), lease="", leased_until=None)

    def _next_try(self, current: Entry, tried: Recipient, now: float) -> float | None:
        marks = current.late_marks(self.schedule.warn_after)
        return self.schedule.next_try(
            tried.attempts, now, current.since, self.chance, marks=marks, until=current.return_by
        )

    def _put_off(self, tried: Recipient, moment: float | None, *, is_in_doubt: bool) -> Recipient:
        """A tried recipient that is not settled, to be tried at a moment; None where its time is over."""
        if is_in_doubt:
            # It never expires: a report that it failed might be untrue, and only a human can find out.
            stays = tried.state is RecipientState.HELD or not self.resends
            words = self._asked(tried.diagnostic)
            return replace(tried, state=RecipientState.IN_DOUBT, next_try=None if stays else moment, diagnostic=words)
        if tried.state is RecipientState.HELD:
            return tried
        if moment is None:
            return replace(tried, state=RecipientState.EXPIRED)
        return replace(tried, state=RecipientState.WAITING, next_try=moment)

    def _asked(self, diagnostic: str) -> str:
        return f"{diagnostic}; {_QUESTION}" if self.asks and not self.resends else diagnostic


def _tried(one: Recipient, status: EnhancedStatus, diagnostic: str, now: float) -> Recipient:
    return replace(
        one, attempts=one.attempts + 1, next_try=None, status=status, diagnostic=diagnostic, changed=now,
        is_attempted=False,
    )


def _reason(
    reasons: Sequence[Reason] | Mapping[str, Reason], position: int, path: ForwardPath | None, count: int
) -> Reason | None:
    if isinstance(reasons, Mapping):
        return reasons.get(path.address if path else "")
    if len(reasons) not in (0, 1, count):
        raise ValueError(f"{len(reasons)} reasons for {count} recipients; give one for each, one for all, or none")
    return (reasons[position] if len(reasons) == count else reasons[0]) if reasons else None


def _assign(
    entry: Entry, results: Sequence[RecipientResult]
) -> dict[int, tuple[RecipientFate, EnhancedStatus, str]]:
    """Position → what came of it; no leased recipient is left without."""
    given: dict[ForwardPath, list[RecipientResult]] = {}
    for result in reversed(results):
        given.setdefault(result.recipient, []).append(result)
    assigned = {}
    for one in entry.remaining:
        if mine := given.get(one.forward_path or ForwardPath("")):
            # Equal paths take equal results in order; the last result serves the rest.
            result = mine.pop() if len(mine) > 1 else mine[0]
            assigned[one.position] = (result.fate, result.status, result.diagnostic)
        else:
            assigned[one.position] = _NO_RESULT
    return assigned
