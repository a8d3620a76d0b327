"""A step of a line: a stage as the engine meets it.

Never here: what comes of a stage's answer; see `run`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from mailpipe.pipeline.async_stage import caller_of
from mailpipe.pipeline.component import Stage
from mailpipe.pipeline.mail import Mail


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a line.

    Attributes:
        stage: open.
        call: asks it; a plain function, however the stage is written.
    """

    stage: Stage[Any]
    call: Callable[[Mail], object]

    @classmethod
    def of(cls, stage: Stage[Any]) -> "Step":
        """The step of a stage without conditions."""
        return cls(stage, caller_of(stage))
