"""A sink that delivers for a long time, while the settings behind it may change.

    reloader = Reloader(load, opened_sink)
    sink = SwappedSink(reloader)
    keep_redelivering(queue, sink, wait, …)         # each mail goes by the sink that is in force when its turn comes

What is fixed when a deliverer starts (the queue, the kind of sink, how many mails it takes at a time) needs a restart:
a file in which that changed is not taken.

Never here: when a file is read again; see `reload`.
"""

from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

from mailpipe.errors import ConfigError, SettingsError
from mailpipe.pipeline.component import Options, Sink
from mailpipe.pipeline.line import open_sinks
from mailpipe.pipeline.mail import Mail
from mailpipe.pipeline.outcome import Receipt
from mailpipe.pipeline.registry import Registry
from mailpipe.pipeline.reload import Reloader, changed_tables
from mailpipe.pipeline.settings import Settings
from mailpipe.smtp.envelope import Envelope


@dataclass(slots=True)
class OpenedSink:
    """Sinks that are open.

    Attributes:
        settings: where they come from.
        sink: the pipeline's own.
        routes: those of routes, by name.
        ends: closes them all.
    """

    settings: Settings
    sink: Sink[Any]
    routes: dict[str, Sink[Any]]
    ends: ExitStack

    def close(self) -> None:
        """Close them."""
        self.ends.close()


def opened_sink(settings: Settings, registry: Registry, before: OpenedSink | None = None) -> OpenedSink:
    """The sinks of a pipeline file, open; as `Reloader` wants it made.

    Raises:
        ConfigError: there is none, or what changed since `before` needs a restart.
        MailpipeError: it cannot be opened.
    """
    if settings.queue is None:
        raise ConfigError(f'{settings.file}: there is no [queue] table; add one with directory = "queue"')
    if settings.sink is None:
        raise ConfigError(f"{settings.file}: there is no [sink] table; say where mail goes")
    if before is not None:
        _refuse_what_needs_a_restart(before.settings, settings)
    with ExitStack() as ends:
        sink, routes = ends.enter_context(open_sinks(settings, registry))
        if before is not None:
            was, wants = (before.sink.in_flight, before.sink.lane_width), (sink.in_flight, sink.lane_width)
            if was != wants:
                raise _restart(settings, "sink", "takes {} mails at a time, {} a lane".format(*wants))
        return OpenedSink(settings, sink, routes, ends.pop_all())


def _refuse_what_needs_a_restart(old: Settings, new: Settings) -> None:
    assert old.sink is not None and new.sink is not None
    if "[queue]" in changed_tables(old, new):
        raise _restart(new, "queue", "changed")
    if old.sink.use != new.sink.use:
        raise _restart(new, "sink", f"is {new.sink.use!r} in place of {old.sink.use!r}")
    was, wants = ({name: each.sink.use for name, each in one.routes.items() if each.sink} for one in (old, new))
    if was != wants:
        raise _restart(new, "route", "has other sinks")


def _restart(settings: Settings, table: str, words: str) -> SettingsError:
    return SettingsError(f"[{table}] {words}, which needs a restart", file=str(settings.file))


class SwappedSink(Sink[Options]):
    """The sink of a pipeline file, or of a route of it, as it is at the moment."""

    name = "swapped"

    def __init__(self, reloader: Reloader[OpenedSink], route: str = "") -> None:
        super().__init__(Options())
        self._reloader, self._route = reloader, route
        sink = self._of(reloader.current())
        # the same for every sink that may take its place
        self.name = sink.name  # type: ignore[misc]
        self.needs_recipients = sink.needs_recipients  # type: ignore[misc]
        self._in_flight, self._lane_width = sink.in_flight, sink.lane_width

    def _of(self, opened: OpenedSink) -> Sink[Any]:
        return opened.routes[self._route] if self._route else opened.sink

    @property
    def in_flight(self) -> int:
        """As of the sink behind it."""
        return self._in_flight

    @property
    def lane_width(self) -> int:
        """As of the sink behind it."""
        return self._lane_width

    def lane(self, envelope: Envelope) -> str:
        """As the sink in force says."""
        return self._of(self._reloader.current()).lane(envelope)

    def deliver(self, mail: Mail) -> Receipt:
        """Hand the mail to the sink in force; a reload meanwhile waits for it."""
        with self._reloader.held() as opened:
            return self._of(opened).deliver(mail)


def swapped_routes(reloader: Reloader[OpenedSink]) -> dict[str, Sink[Any]]:
    """The sinks of the routes, as they are at the moment."""
    return {name: SwappedSink(reloader, name) for name in reloader.current().routes}
