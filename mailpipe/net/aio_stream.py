"""Many transactions on one connection of an event loop, several of them in flight (RFC 2920, 3030).

    async for result in in_flight(connection, pairs, window=8, chunking=True): …

Each pair that is taken has exactly one result, in the order of the pairs, whatever becomes of the connection.

Never here: sockets; how a session begins (`mailpipe.net.aio`).
"""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterable, Awaitable, Iterable
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from mailpipe.errors import LocalProtocolError, TransientFailure
from mailpipe.net.aio_link import Link
from mailpipe.net.session import never_tried
from mailpipe.smtp.envelope import Envelope
from mailpipe.smtp.events import ConnectionEnded, TransactionEnded, TransactionResult
from mailpipe.smtp.extension import Extensions

Pair = tuple[Envelope, bytes]
"""What is to be sent: the envelope, and the message with CRLF as its only line end."""
Pairs = Iterable[Pair] | AsyncIterable[Pair]
_T = TypeVar("_T")


class Connection(Protocol):
    """What is needed of an `AsyncSmtpConnection`."""

    transaction_count: int
    last_peer: str

    @property
    def is_open(self) -> bool:
        """A session stands."""
        ...

    @property
    def is_used_up(self) -> bool:
        """It may carry no more."""
        ...

    def takes(self, envelope: Envelope) -> bool:
        """It may carry one more, to these."""
        ...

    def note_begun(self, envelope: Envelope) -> None:
        """It carries one more."""
        ...

    async def quit(self) -> None:
        """End it."""
        ...

    async def open(self) -> Extensions:
        """Have a session."""
        ...

    def session(self) -> Link:
        """The connection of it."""
        ...

    def abort(self) -> None:
        """Close it."""
        ...


@dataclass(slots=True)
class _Flying:
    pair: Pair
    may_repeat: bool


async def in_flight(
    connection: Connection, pairs: Pairs, window: int, chunking: bool
) -> AsyncGenerator[TransactionResult, None]:
    """See `AsyncSmtpConnection.stream`."""
    source, flight = _Source(pairs), deque[_Flying]()
    waiting: deque[_Flying] = deque()  # taken, and not begun on the present connection
    failure: Exception | None = None
    try:
        while True:
            if not waiting and not flight and failure is None:
                try:
                    pair = await source.next()
                except Exception as error:  # noqa: BLE001  # the source's own; raised at the end
                    failure = error
                else:
                    if pair is not None:
                        waiting.append(_Flying(pair, True))
            if not waiting and not flight:
                break
            if not connection.is_open or not flight:
                try:
                    await connection.open()
                    if waiting and not flight and not connection.takes(waiting[0].pair[0]):
                        await connection.quit()
                        await connection.open()
                except TransientFailure as error:
                    for one in waiting:
                        yield never_tried(one.pair[0], error)
                    raise
            link = connection.session()
            link.core.window, link.patience = window, max(1, window // 2)
            failure = failure or _fill(connection, link, source, waiting, flight, chunking)
            link.pump()
            if flight:
                if not link.events and (connection.is_used_up or waiting):
                    await link.wait()
                elif not link.events:
                    await source.until(link)
                for result in _results(connection, link, flight, waiting):
                    yield result
            elif failure is not None:
                break
        if failure is not None:
            raise failure
    finally:
        source.close()
        if flight:
            connection.abort()
        elif connection.is_open:
            link = connection.session()
            link.core.window = link.patience = 1


def _fill(
    connection: Connection, link: Link, source: "_Source", waiting: deque[_Flying], flight: deque[_Flying],
    chunking: bool,
) -> Exception | None:
    """Begin as many transactions as there is room for; returns what stands in the way of all others."""
    core = link.core
    is_limited = bool(core.extensions.limits)  # few peers offer any, and to ask for each message costs as much as RCPT
    while core.may_begin and not (is_limited and connection.is_used_up):
        if waiting:
            one = waiting.popleft()
        else:
            try:
                pair = source.next_now()
            except Exception as error:  # noqa: BLE001  # the source's own; raised when nothing is in flight any more
                return error
            if pair is None:
                return None
            one = _Flying(pair, True)
        if is_limited and flight and not connection.takes(one.pair[0]):
            waiting.appendleft(one)
            return None
        # Once more only where the connection was in use before: a fresh one that dies would die again.
        one.may_repeat = one.may_repeat and connection.transaction_count > 0
        try:
            core.begin(*one.pair, chunking=chunking)
        except LocalProtocolError as error:
            return error
        connection.note_begun(one.pair[0])
        flight.append(one)
    return None


def _results(
    connection: Connection, link: Link, flight: deque[_Flying], waiting: deque[_Flying]
) -> list[TransactionResult]:
    """What has ended; those at the end that the peer never began, and that may go once more, wait instead."""
    results: list[TransactionResult] = []
    begun: list[_Flying] = []
    has_ended = False
    while link.events:
        event = link.events.popleft()
        if isinstance(event, TransactionEnded):
            begun.append(flight.popleft())
            results.append(event.result)
        has_ended = has_ended or isinstance(event, ConnectionEnded)
    if not has_ended:
        return results
    connection.abort()
    while results and begun[-1].may_repeat and results[-1].never_began and not _is_settled(results[-1]):
        one = begun.pop()
        one.may_repeat = False
        waiting.appendleft(one)
        results.pop()
    return [result.of_peer(connection.last_peer) for result in results]


def _is_settled(result: TransactionResult) -> bool:
    """Every recipient was refused by ourselves: the peer was not asked."""
    return all(answer.reply is not None and not answer.command for answer in result.answers)


class _Source:
    """Pairs of whatever kind of iterable, taken one by one; an asynchronous one is never waited for in vain.

    Attributes:
        is_over: there is no more.
    """

    def __init__(self, pairs: Pairs) -> None:
        self.is_over = False
        self._plain = iter(pairs) if isinstance(pairs, Iterable) else None
        self._slow = aiter(pairs) if isinstance(pairs, AsyncIterable) else None
        self._coming: asyncio.Future[Pair] | None = None

    def next_now(self) -> Pair | None:
        """The next one, None where there is none or it must be waited for."""
        if self._plain is not None:
            pair = None if self.is_over else next(self._plain, None)
            self.is_over = pair is None
            return pair
        if self._slow is not None and not self.is_over:
            if self._coming is None:
                self._coming = asyncio.ensure_future(_awaited(anext(self._slow)))
            if self._coming.done():
                return self._arrived(self._coming)
        return None

    async def next(self) -> Pair | None:
        """The next one, None at the end."""
        pair = self.next_now()
        if pair is None and self._coming is not None:
            await asyncio.wait([self._coming])
            pair = self._arrived(self._coming)
        return pair

    async def until(self, link: Link) -> None:
        """Wait for an event of the connection, or for the next pair where one is being waited for."""
        if self._coming is None or not link.core.may_begin:
            await link.wait()
            return
        event = asyncio.ensure_future(link.wait())
        waiting: list[asyncio.Future[Any]] = [event, self._coming]
        try:
            await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        finally:
            event.cancel()
            await asyncio.wait([event])

    def close(self) -> None:
        """Wait for nothing more."""
        if self._coming is not None:
            self._coming.cancel()

    def _arrived(self, coming: "asyncio.Future[Pair]") -> Pair | None:
        self._coming = None
        try:
            return coming.result()
        except StopAsyncIteration:
            self.is_over = True
            return None


async def _awaited(awaitable: Awaitable[_T]) -> _T:
    return await awaitable
