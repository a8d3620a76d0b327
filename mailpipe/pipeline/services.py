"""What a stage is given when it is opened: a log bound to the mail, metrics, a clock, secrets. There is nothing else.

    def open(self, services: Services) -> None:
        self._services = services
        self._token = services.secrets.get("rspamd-password")

    def process(self, mail: Mail) -> Mail:
        self._services.log.info("looked up %s", host)       # "archive.mbox:1234: my-stage: looked up …"
        self._services.metrics.count("lookups")
        age = self._services.clock.now() - mail.message.date

A test gives its own: `Services.for_tests(clock=VirtualClock(), secrets={"token": "x"})`.

Never here: where secrets come from; the settings read the environment.
"""

import logging
import time
from collections.abc import Callable, Mapping, MutableMapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Protocol

from mailpipe.errors import SecretMissing

if TYPE_CHECKING:
    from mailpipe.pipeline.mail import Origin


class Clock(Protocol):
    """The time, so that a test can turn it."""

    def now(self) -> datetime:
        """The date and time, aware, in UTC."""

    def monotonic(self) -> float:
        """Seconds that only grow."""

    def sleep(self, seconds: float) -> None:
        """Wait."""


class SystemClock:
    """The machine's clock."""

    def now(self) -> datetime:
        """The date and time, aware, in UTC."""
        return datetime.now(UTC)

    def monotonic(self) -> float:
        """Seconds that only grow."""
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        """Wait."""
        time.sleep(seconds)


class Metrics:
    """Numbers that a stage counts; they are in the report of the run, as "stage.name"."""

    def __init__(self, prefix: str = "", values: dict[str, float] | None = None) -> None:
        self._prefix = prefix
        self.values: dict[str, float] = {} if values is None else values
        """Name → sum, of all stages that share them."""

    def count(self, name: str, by: float = 1) -> None:
        """Add to a number."""
        key = f"{self._prefix}.{name}" if self._prefix else name
        self.values[key] = self.values.get(key, 0) + by

    def for_stage(self, name: str) -> "Metrics":
        """The same numbers, under the names of a stage."""
        return Metrics(name, self.values)


class Secrets:
    """What must not stand in a pipeline file: name → value.

    Args:
        look_up: the value of a name, None where there is none.
    """

    def __init__(self, look_up: Callable[[str], str | None] | Mapping[str, str]) -> None:
        self._look_up = look_up.get if isinstance(look_up, Mapping) else look_up

    def get(self, name: str) -> str:
        """The secret of that name.

        Raises:
            SecretMissing: there is none; it says where one is looked for.
        """
        value = self._look_up(name)
        if value is None:
            raise SecretMissing(name)
        return value

    def __repr__(self) -> str:
        return "Secrets(…)"


class _Log(logging.LoggerAdapter[logging.Logger]):
    """Puts the mail and the stage before what is said."""

    def __init__(self, stage: str, current: "Current") -> None:
        super().__init__(logging.getLogger(f"mailpipe.stage.{stage}"), {})
        self._stage, self._current = stage, current

    def process(self, msg: Any, kwargs: MutableMapping[str, Any]) -> tuple[Any, MutableMapping[str, Any]]:
        origin = self._current.origin
        words = f"{self._stage}: {msg}"
        # a location may hold a percent sign, and what is said is a format
        return (words if origin is None else f"{str(origin).replace('%', '%%')}: {words}"), kwargs


@dataclass(slots=True)
class Current:
    """Which mail is at the stages now.

    Attributes:
        origin: where it came from; None between two.
    """

    origin: "Origin | None" = None


@dataclass(frozen=True, slots=True)
class Services:
    """What a stage is given when it is opened.

    Attributes:
        log: a logger whose lines begin with the mail that is being processed.
        metrics: numbers for the report of the run.
        clock: the time.
        secrets: values that must not stand in a pipeline file.
        is_rehearsal: nothing is delivered, whatever the outcomes say: what a stage remembers of it across mails must
            be forgotten at the end.
    """

    log: "logging.LoggerAdapter[logging.Logger]"
    metrics: Metrics
    clock: Clock
    secrets: Secrets
    is_rehearsal: bool = False

    @classmethod
    def for_tests(
        cls, stage: str = "test", clock: Clock | None = None, secrets: Mapping[str, str] | None = None
    ) -> "Services":
        """Services for one stage outside a pipeline."""
        return ServicesMaker(clock or SystemClock(), Secrets(secrets or {})).make(stage)


@dataclass(slots=True)
class ServicesMaker:
    """Makes the services of each stage of a line.

    Attributes:
        clock, secrets: what they share.
        metrics: theirs together.
        current: where the engine says which mail it has in hand.
        is_rehearsal: see `Services`.
    """

    clock: Clock = field(default_factory=SystemClock)
    secrets: Secrets = field(default_factory=lambda: Secrets({}))
    metrics: Metrics = field(default_factory=Metrics)
    current: Current = field(default_factory=Current)
    is_rehearsal: bool = False

    def make(self, stage: str) -> Services:
        """The services of one stage."""
        log, metrics = _Log(stage, self.current), self.metrics.for_stage(stage)
        return Services(log, metrics, self.clock, self.secrets, self.is_rehearsal)
