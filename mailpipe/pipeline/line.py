"""A pipeline's components made and opened: settings become a `Line` that the engine can use.

    line, close = open_line(settings, registry)
    troubles = close()

Never here: how mail flows.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

from mailpipe.errors import ConfigError, MailpipeError, SinkError, StageError
from mailpipe.pipeline.access import Budget
from mailpipe.pipeline.async_stage import caller_of, run_to_its_end
from mailpipe.pipeline.component import AnyComponent, Sink, Stage
from mailpipe.pipeline.loop import LoopRule
from mailpipe.pipeline.outcome import Outcome
from mailpipe.pipeline.quarantine import Quarantine
from mailpipe.pipeline.registry import Registry
from mailpipe.pipeline.run import Line
from mailpipe.pipeline.services import Clock, Secrets, ServicesMaker, SystemClock
from mailpipe.pipeline.settings import Settings, Use, look_up_secret
from mailpipe.pipeline.signed_mail import guard_of
from mailpipe.pipeline.step import OnError, Step, Way, Ways

if TYPE_CHECKING:  # slow to import; a filter may have none
    from mailpipe.pipeline.isolation import IsolatedStage
    from mailpipe.pipeline.rules import Rule
    from mailpipe.queue import Queue

C = TypeVar("C", bound=AnyComponent)
PRETENCE = "discard"
"""A given sink of this name stands for those of the routes too: so a dry run hands nothing over."""


class _Opener:
    """Makes and opens components, and closes them again.

    Args:
        settings: of the pipeline.
        registry: where the components come from.
        is_rehearsal: nothing will be delivered.
        clock: what the stages are given; the machine's by default.
    """

    def __init__(
        self, settings: Settings, registry: Registry, *, is_rehearsal: bool = False, clock: Clock | None = None
    ) -> None:
        self._settings, self._registry = settings, registry
        self.maker = ServicesMaker(clock or SystemClock(), Secrets(look_up_secret), is_rehearsal=is_rehearsal)
        self.opened: list[AnyComponent | IsolatedStage | Queue] = []
        self.listeners: list[Callable[[Outcome], None]] = []

    def close(self) -> list[str]:
        """Close what was opened, the last first; what went wrong."""
        troubles = []
        while self.opened:
            component = self.opened.pop()
            try:
                run_to_its_end(component.close())
            except Exception as error:  # noqa: BLE001 - every mail has its outcome; the others must be closed too
                troubles.append(f"{getattr(component, 'name', 'the queue')!r} did not close: {error}")
        return troubles

    def steps(self) -> tuple[Step, ...]:
        """The pipeline's own steps, open."""
        return tuple(map(self._step, self._settings.stages))

    def routes(self, sink: Sink[Any]) -> dict[str, Way]:
        """The routes, open; one without a sink ends in the given one."""
        routes = {}
        for name, route in self._settings.routes.items():
            steps = tuple(map(self._step, route.stages))
            is_own = route.sink is not None and sink.name != PRETENCE
            end = self.sink(route.sink) if is_own and route.sink is not None else sink
            routes[name] = Way(name, steps, end, is_main=not is_own)
        return routes

    def sink(self, use: Use) -> Sink[Any]:
        """A sink, open."""
        sink = _made(self._registry.sink(use.use), use.options, use.key)
        self.open_one(sink, use.key, sink.open)
        return sink

    def open_one(self, made: AnyComponent, key: str, open_it: Callable[[], None]) -> None:
        """Open one component, to be closed at the end."""
        try:
            open_it()
        except MailpipeError:
            raise
        except Exception as error:
            raise _trouble(type(made), key, error) from error
        self.opened.append(made)

    def _step(self, use: Use) -> Step:
        step = use.step
        policy = step.on_error
        on_error = None
        if policy is not None:
            then = "goto" if policy.goto is not None else policy.then
            on_error = OnError(then, policy.goto or "", policy.retry, policy.wait)
        rule = self._rule(use) if use.condition is not None else None
        if not use.use:
            return Step(use.label, None, rule, on_error, step.goto or "", step.tee)
        component = self._registry.stage(use.use)
        budget = step.budget.budget().over(component.budget)
        # a budget that the file asks for can only be kept elsewhere; one that the stage itself names goes along
        is_apart = step.isolate or step.budget.time is not None or step.budget.memory is not None
        call = self._apart(use, budget) if is_apart else self._call(component, use)
        guard = None
        if component.accesses(use.options)[1].message and not component.signs:
            guard = guard_of(step.on_broken_signature or "accept", use.label)
        return Step(use.label, call, rule, on_error, expansion=budget.expansion, guard=guard)

    def _call(self, component: type[Stage[Any]], use: Use) -> Callable[[Any], object]:
        stage = _made(component, use.options, use.key)
        self.open_one(stage, use.key, lambda: run_to_its_end(stage.open(self.maker.make(use.label))))
        if type(stage).ended is not Stage.ended:
            self.listeners.append(stage.ended)
        return caller_of(stage)

    def _apart(self, use: Use, budget: Budget) -> Callable[[Any], object]:
        from mailpipe.pipeline.isolation import IsolatedStage, StageRecipe  # slow to import, and few stages need it

        recipe = StageRecipe.of(self._registry, use.use, use.options, use.key)
        stage = IsolatedStage(recipe, budget, self._settings.limits)
        stage.open(self.maker.make(use.label))
        self.opened.append(stage)
        return stage

    def _rule(self, use: Use) -> "Rule":
        from mailpipe.pipeline.rules import Rule  # slow to import, and most pipelines have no rules

        try:
            return Rule.of(use.condition, self.maker.clock)
        except OSError as error:
            raise ConfigError(f"{use.key}.when: cannot read {error.filename}: {error.strerror}") from error


@contextmanager
def open_sinks(settings: Settings, registry: Registry) -> Iterator[tuple[Sink[Any], dict[str, Sink[Any]]]]:
    """The pipeline's sink and those of its routes, open while it lasts.

    Raises:
        MailpipeError: one of them cannot be opened; the others are closed.
    """
    assert settings.sink is not None
    opener = _Opener(settings, registry)
    try:
        sink = opener.sink(settings.sink)
        yield sink, {name: opener.sink(each.sink) for name, each in settings.routes.items() if each.sink is not None}
    finally:
        opener.close()


def open_line(
    settings: Settings, registry: Registry, sink: Sink[Any] | None = None, clock: Clock | None = None
) -> tuple[Line, Callable[[], list[str]]]:
    """Make and open the stages, the sinks and the queue.

    Args:
        settings: of the pipeline.
        registry: where the components come from.
        sink: one to use in place of that of the settings; then there is no queue.
        clock: what stages and rules are given; the machine's by default.

    Returns:
        the line, and what closes it and tells its troubles.

    Raises:
        MailpipeError: one of them cannot be opened; the others are closed.
    """
    is_rehearsal = sink is not None and sink.name == PRETENCE
    opener = _Opener(settings, registry, is_rehearsal=is_rehearsal, clock=clock)
    queue: Queue | None = None
    loops: LoopRule | None = None
    try:
        steps = opener.steps()
        if sink is not None:
            opener.open_one(sink, "sink", sink.open)
        else:
            assert settings.sink is not None
            sink = opener.sink(settings.sink)
            if settings.queue is not None:
                from mailpipe.pipeline.redeliver import loop_rule, open_queue  # SQLite is slow to import

                queue, loops = open_queue(settings.queue), loop_rule(settings.queue, sink)
                opener.opened.append(queue)
        ways = Ways(Way("", steps, sink), opener.routes(sink))
    except BaseException:
        opener.close()
        raise
    line = Line(
        ways,
        settings.envelope,
        Quarantine(settings.quarantine.directory),
        queue,
        settings.limits,
        settings.message_size,
        OnError(settings.run.on_stage_error),
        loops,
        queue is not None and queue.reports,
        opener.maker.current,
        opener.maker.clock,
        opener.maker.metrics,
        tuple(opener.listeners),
    )
    return line, opener.close


def _made(component: type[C], options: Any, key: str) -> C:
    try:
        return component(options)
    except MailpipeError:
        raise
    except Exception as error:
        raise _trouble(component, key, error) from error


def _trouble(component: type[AnyComponent], key: str, error: Exception) -> MailpipeError:
    kind = SinkError if issubclass(component, Sink) else StageError
    return kind(component.name, f"it does not open: {type(error).__name__}: {error}", key)
