"""The verbs of `mailpipe queue` by which a person decides about messages: named ones, or all that options leave.

    mailpipe queue release pipeline.toml 0190abcd 0190abce
    mailpipe queue remove pipeline.toml --all --state failed --older 30d
    mailpipe queue settle pipeline.toml 0190abcd delivered

Never here: what a decision means for a recipient (`mailpipe.queue`).
"""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mailpipe.cli import output
from mailpipe.cli.exit import EX_OK, UsageError
from mailpipe.cli.opening import bare
from mailpipe.cli.queue_opening import (
    All,
    AsJson,
    Directory,
    Filters,
    NoQueue,
    Older,
    States,
    To,
    Words,
    say_empty,
    split,
)
from mailpipe.errors import InputError

if TYPE_CHECKING:  # slow to import; `mailpipe --help` must not wait for it
    from mailpipe.queue import Queue, Recipient
    from mailpipe.queue.by_hand import Choice

_LEFT = {"remove": "with other recipients, who are still to get it"}
_NOTHING = "of which no recipient is in a state for that"
_IN_HAND = "being delivered at this moment: it may arrive all the same"
_UNTOLD = "nobody is told: only a pipeline file whose [queue] table has reports = true says how"


def hold(
    words: Words = None, directory: Directory = None, is_all: All = False, states: States = None, recipients: To = None,
    older: Older = None, as_json: AsJson = False,
) -> int:  # fmt: skip
    """Keep messages from being tried until they are released."""
    filters = Filters.of(states, recipients, older)
    return _act("hold", "held", words, directory, is_all, filters, as_json=as_json, act=_hold)


def release(
    words: Words = None, directory: Directory = None, is_all: All = False, states: States = None, recipients: To = None,
    older: Older = None, as_json: AsJson = False,
) -> int:  # fmt: skip
    """Let held messages go, and send again what is in doubt: due now."""
    filters = Filters.of(states, recipients, older)
    return _act("release", "released", words, directory, is_all, filters, as_json=as_json, act=_release)


def requeue(
    words: Words = None, directory: Directory = None, is_all: All = False, states: States = None, recipients: To = None,
    older: Older = None, as_json: AsJson = False,
) -> int:  # fmt: skip
    """Begin anew for every recipient that is not delivered, failed and expired ones too.

    What is in doubt is sent again where its message is named, or --state in-doubt is given.
    """
    filters = Filters.of(states, recipients, older)

    def anew(queue: "Queue", identifier: str, only: "Choice") -> bool:
        def is_meant(one: "Recipient") -> bool:
            return only(one) and (not is_all or one.state.value != "in-doubt" or "in-doubt" in filters.states)

        return bool(queue.requeue(identifier, only=is_meant))

    return _act("requeue", "requeued", words, directory, is_all, filters, as_json=as_json, act=anew)


def remove(
    words: Words = None, directory: Directory = None, is_all: All = False, states: States = None, recipients: To = None,
    older: Older = None, as_json: AsJson = False,
) -> int:  # fmt: skip
    """Delete messages for good. Nobody is told."""

    def end(queue: "Queue", identifier: str, only: "Choice") -> bool:
        return bool(queue.remove(identifier, only=only))

    filters = Filters.of(states, recipients, older)
    return _act("remove", "removed", words, directory, is_all, filters, as_json=as_json, act=end)


def bounce(
    words: Words = None, directory: Directory = None, is_all: All = False, states: States = None, recipients: To = None,
    older: Older = None,
    reason: Annotated[str | None, typer.Option("--reason", help="Words for the sender.")] = None,
    as_json: AsJson = False,
) -> int:  # fmt: skip
    """Give up messages for good and tell their senders, where the queue sends reports."""

    def end(queue: "Queue", identifier: str, only: "Choice") -> bool:
        if reason is None:
            return bool(queue.bounce(identifier, only=only))
        return bool(queue.bounce(identifier, reason=" ".join(reason.split()), only=only))

    filters = Filters.of(states, recipients, older)
    return _act("bounce", "bounced", words, directory, is_all, filters, as_json=as_json, act=end, tells=True)


def settle(
    words: Words = None,
    directory: Directory = None,
    recipient: Annotated[
        str, typer.Option("--recipient", metavar="ADDRESS", help="Only this recipient; by default all in doubt.")
    ] = "",
    as_json: AsJson = False,
) -> int:
    """Say what became of messages that are in doubt: ID… delivered, or ID… failed."""
    words = words or []
    if not words or words[-1] not in ("delivered", "failed"):
        raise UsageError("say what became of it behind the ids: delivered or failed")
    fate = words[-1]

    def end(queue: "Queue", identifier: str, _: "Choice") -> bool:
        queue.answer(identifier, fate, bare(recipient))
        return True

    return _act(
        "settle", "settled", words[:-1], directory, False, Filters(), as_json=as_json, act=end, tells=fate == "failed"
    )


def _hold(queue: "Queue", identifier: str, only: "Choice") -> bool:
    return bool(queue.hold(identifier, only=only))


def _release(queue: "Queue", identifier: str, only: "Choice") -> bool:
    return bool(queue.release(identifier, only=only))


def _act(
    verb: str, done: str, words: list[str] | None, directory: Path | None, is_all: bool, filters: Filters, *,
    act: "Callable[[Queue, str, Choice], bool]", as_json: bool, tells: bool = False,
) -> int:  # fmt: skip
    if filters and not is_all:
        raise UsageError("--state, --recipient and --older go with --all")
    try:
        identifiers, queue = split(words or [], directory, is_all=is_all)
    except NoQueue:
        if not is_all or directory is not None:
            raise
        say_empty(f"queue {verb}", {done: []}, as_json=as_json)  # a queue that no run has needed yet
        return EX_OK
    acted: list[str] = []
    left: list[str] = []
    in_hand: list[str] = []
    with queue:
        # All of them must be there before the first is touched.
        entries = filters.choose(queue) if is_all else [queue.show(identifier) for identifier in identifiers]
        for identifier, is_leased in [(entry.id, bool(entry.lease)) for entry in entries]:
            try:
                has_acted = act(queue, identifier, filters.takes)
            except InputError:
                if not is_all:
                    raise
                continue  # somebody delivered it meanwhile
            (acted if has_acted else left).append(identifier)
            if has_acted and is_leased:
                in_hand.append(identifier)
        if tells and acted and not queue.reports:
            output.complain(_UNTOLD)
    if left:
        output.complain(f"left as they are: {output.count_text(len(left), 'message')} {_LEFT.get(verb, _NOTHING)}")
    if in_hand:
        output.complain(f"{', '.join(in_hand[:5])}{' and others' if len(in_hand) > 5 else ''} {_IN_HAND}")
    if as_json:
        output.print_json(f"queue {verb}", {done: acted})
    elif is_all or not acted:
        output.complain(f"{done}: {output.count_text(len(acted), 'message')}", prefix="")
    else:
        output.complain(f"{done}: {', '.join(acted)}", prefix="")
    return EX_OK
