"""Async stages in an engine that is not: one event loop a thread, kept, so that a stage's connections live on.

    call = caller_of(stage)          # a plain function for every kind of `process`
    call(mail)                       # a Mail, a Verdict or several Mails
    run_to_its_end(stage.open(services))

Never here: what an answer means.
"""

import inspect
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from itertools import count
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # slow to import, and most pipelines have no async stage
    import asyncio

    from mailpipe.pipeline.component import Stage
    from mailpipe.pipeline.mail import Mail

_of_thread = threading.local()


def _runner() -> "asyncio.Runner":
    runner = getattr(_of_thread, "runner", None)
    if runner is None:
        import asyncio  # slow to import, see above

        runner = _of_thread.runner = asyncio.Runner()
    return runner


async def _awaited(result: Awaitable[Any]) -> Any:
    return await result


async def _gathered(mails: AsyncIterator["Mail"], most: int) -> list["Mail"]:
    numbers = count(1)
    # one more than may be, so that who counts them sees that there are too many
    return [mail async for mail in _until(mails, lambda: next(numbers) > most)]


async def _until(mails: AsyncIterator["Mail"], is_enough: Callable[[], bool]) -> AsyncIterator["Mail"]:
    async for mail in mails:
        yield mail
        if is_enough():
            return


def run_to_its_end(result: Any, most: int = 10_000) -> Any:
    """What an awaitable or an async iterator comes to; anything else is what it is.

    Args:
        result: of a method that may be async.
        most: mails at most, of an iterator; one more is taken.
    """
    if inspect.isawaitable(result):
        return _runner().run(_awaited(result))
    if isinstance(result, AsyncIterator):
        return _runner().run(_gathered(result, most))
    return result


def caller_of(stage: "Stage[Any]") -> Callable[["Mail"], Any]:
    """A plain function that asks the stage; the bound method itself where that is plain."""
    process = stage.process
    if not (inspect.iscoroutinefunction(process) or inspect.isasyncgenfunction(process)):
        return process
    return lambda mail: run_to_its_end(process(mail))
