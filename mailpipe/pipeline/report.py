"""What a run did, in numbers: counts that add up, and what a person should look at.

    report = pipeline.run()
    report.endings["delivered"], report.exit_code, report.model_dump_json()

Never here: what became of each mail; that is the journal.
"""

import time
from collections import Counter
from collections.abc import Iterable, Mapping

from pydantic import BaseModel, ConfigDict, Field, computed_field

from mailpipe.errors import EX_OK, EX_TEMPFAIL
from mailpipe.pipeline.outcome import Ending, Outcome

_SHOWN = 100
EX_SOME_FAILED = 1
_EXPECTED = (Ending.DELIVERED, Ending.DROPPED, Ending.SPLIT)


class Notice(BaseModel):
    """One mail that a person should know about: refused, deferred, queued, set aside."""

    model_config = ConfigDict(frozen=True)

    mail: str = Field(description="Where it came from.")
    ending: Ending = Field(description="How it ended.")
    status: str = Field(description="Enhanced status code.")
    reason: str = Field(description="One line.")
    stage: str = Field(description="The stage that decided, empty where the sink did.")


class QueueReport(BaseModel):
    """The durable queue at the end of a run."""

    model_config = ConfigDict(frozen=True)

    delivered: int = Field(default=0, description="Recipients of earlier mail that this run delivered.")
    failed: int = Field(default=0, description="Recipients of earlier mail that were refused for good.")
    waiting: int = Field(default=0, description="Messages that wait now.")


class RunReport(BaseModel):
    """The numbers of a run, or of a run so far.

    Every mail that entered or that a stage emitted ends in exactly one way: `entered + emitted` is the sum of
    `endings`. Mails that an earlier run had settled are `skipped` and count nowhere else.
    """

    model_config = ConfigDict(frozen=True)

    pipeline: str = Field(default="", description="The pipeline's name.")
    entered: int = Field(default=0, description="Mails read from the source.")
    emitted: int = Field(default=0, description="Mails that stages made of others.")
    skipped: int = Field(default=0, description="Mails that the journal had as done.")
    endings: dict[Ending, int] = Field(default_factory=dict, description="How many ended in each way.")
    defects: dict[str, int] = Field(default_factory=dict, description="How often each defect was found.")
    attachments: int = Field(default=0, description="Files that were written.")
    attachment_octets: int = Field(default=0, description="Their size.")
    attachment_folders: tuple[str, ...] = Field(default=(), description="Where they lie.")
    octets_in: int = Field(default=0, description="Octets of the mails that entered.")
    octets_skipped: int = Field(default=0, description="Octets of the mails that the journal had as done.")
    octets_out: int = Field(default=0, description="Octets handed to the sink.")
    seconds: float = Field(default=0.0, description="How long it took.")
    metrics: dict[str, float] = Field(default_factory=dict, description="What stages counted, by stage.name.")
    in_doubt: tuple[str, ...] = Field(
        default=(), description="Mails that may arrive twice: a run was killed or a reply lost while they were sent."
    )
    notices: tuple[Notice, ...] = Field(default=(), description="The first mails that were not simply delivered.")
    warnings: tuple[str, ...] = Field(default=(), description="What else a person should know.")
    queue: QueueReport | None = Field(default=None, description="The queue, where the pipeline has one.")
    journal: str | None = Field(default=None, description="The journal's path.")
    workers: int = Field(default=1, description="Processes that worked.")
    signal: int = Field(default=0, description="The signal that stopped the run, 0 for none.")
    error: str = Field(default="", description="What stopped the run before its end, empty where nothing did.")
    error_code: int = Field(default=0, description="The exit code that goes with the error.")

    @computed_field  # type: ignore[prop-decorator]
    @property
    def messages_per_second(self) -> float:
        """Mails that ended, for each second."""
        return round(sum(self.endings.values()) / self.seconds, 1) if self.seconds else 0.0

    @computed_field  # type: ignore[prop-decorator]
    @property
    def octets_per_second(self) -> float:
        """Octets read, for each second."""
        return round(self.octets_in / self.seconds, 1) if self.seconds else 0.0

    @computed_field  # type: ignore[prop-decorator]
    @property
    def exit_code(self) -> int:
        """The error's; 128 and the signal; 75 when mail must come again; 1 when some failed or was rejected; else 0."""
        if self.error:
            return self.error_code
        if self.signal:
            return 128 + self.signal
        if self.endings.get(Ending.DEFERRED):
            return EX_TEMPFAIL
        failed = self.endings.get(Ending.FAILED, 0) + self.endings.get(Ending.REJECTED, 0)
        return EX_SOME_FAILED if failed else EX_OK

    @property
    def is_balanced(self) -> bool:
        """Whether every mail that entered or was emitted has its ending."""
        return self.entered + self.emitted == sum(self.endings.values())


class Tally:
    """Counts while a run goes on."""

    def __init__(self, pipeline: str = "", workers: int = 1, journal: str | None = None) -> None:
        self.pipeline, self.workers, self.journal = pipeline, workers, journal
        self.entered = self.emitted = self.skipped = 0
        self.endings: Counter[Ending] = Counter()
        self.defects: Counter[str] = Counter()
        self.metrics: dict[str, float] = {}
        self.attachments = self.attachment_octets = self.octets_in = self.octets_skipped = self.octets_out = 0
        self.folders: set[str] = set()
        self.in_doubt: list[str] = []
        self.notices: list[Notice] = []
        self.warnings: list[str] = []
        self.queue: QueueReport | None = None
        self.signal = 0
        self.error, self.error_code = "", 0
        self._began = time.monotonic()

    def count(self, outcomes: Iterable[Outcome], skipped: int = 0) -> None:
        """Count the outcomes of one mail that entered, its own first, then those of what was made of it.

        Args:
            outcomes: at least one.
            skipped: mails made of it that an earlier run had settled.
        """
        self.entered += 1
        self.emitted -= 1
        self.skipped += skipped
        for number, outcome in enumerate(outcomes):
            self.emitted += 1
            self.endings[outcome.ending] += 1
            self.defects.update(outcome.defects)
            self.octets_in += outcome.size_in if number == 0 else 0
            self.octets_out += outcome.size_out
            for saved in outcome.attachments:
                self.attachments += 1
                self.attachment_octets += saved.size
                if len(self.folders) < _SHOWN:
                    self.folders.add(saved.path.rpartition("/")[0] or ".")
            if outcome.ending not in _EXPECTED and len(self.notices) < _SHOWN:
                self.notices.append(_notice(outcome))

    def measure(self, metrics: Mapping[str, float]) -> None:
        """Add what the stages of one line counted."""
        for name, value in metrics.items():
            self.metrics[name] = self.metrics.get(name, 0) + value

    def report(self) -> RunReport:
        """The numbers so far."""
        return RunReport(
            pipeline=self.pipeline,
            entered=self.entered,
            emitted=self.emitted,
            skipped=self.skipped,
            endings={ending: self.endings[ending] for ending in Ending},
            defects=dict(sorted(self.defects.items())),
            metrics=dict(sorted(self.metrics.items())),
            attachments=self.attachments,
            attachment_octets=self.attachment_octets,
            attachment_folders=tuple(sorted(self.folders)),
            octets_in=self.octets_in,
            octets_skipped=self.octets_skipped,
            octets_out=self.octets_out,
            seconds=round(time.monotonic() - self._began, 6),
            in_doubt=tuple(self.in_doubt),
            notices=tuple(self.notices),
            warnings=tuple(self.warnings),
            queue=self.queue,
            journal=self.journal,
            workers=self.workers,
            signal=self.signal,
            error=self.error,
            error_code=self.error_code,
        )


def _notice(outcome: Outcome) -> Notice:
    return Notice(
        mail=str(outcome.origin),
        ending=outcome.ending,
        status=str(outcome.status),
        reason=outcome.reason,
        stage=outcome.stage,
    )
