"""A whole pipeline in a folder of its own: messages in, outcomes and delivered mails out.

    result = run_pipeline('''
        [[stage]]
        use  = "tag-subject"
        word = "list"
    ''', build_message(subject="Tides"), plugins=[TagSubject])
    result.assert_endings("delivered")
    result.delivered[0].message.subject              # "[list] Tides"

The stages are those of the file, with all that it says about them; mails come from the test and end in its hands
instead of the file's sink.

Never here: archives, journals, several workers; `mailpipe run` has them, and its own tests.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from shutil import copyfile
from textwrap import dedent
from typing import Any

from mailpipe.message import Message
from mailpipe.pipeline.assemble import assemble
from mailpipe.pipeline.component import Options, Sink, Source, Stage
from mailpipe.pipeline.function_stage import stage_of
from mailpipe.pipeline.mail import Mail, RawMail
from mailpipe.pipeline.outcome import Fate, Outcome, Receipt
from mailpipe.pipeline.registry import Kind, Registry
from mailpipe.pipeline.settings import parse_settings
from mailpipe.plugins import FOLDER, load_registry
from mailpipe.testing.messages import MailMaker, MessageBuilder

Plugin = type[Stage[Any]] | type[Source[Any]] | type[Sink[Any]] | Callable[..., Any] | Path
"""What a pipeline needs that is not installed: a component, or a file that goes into its folder of plugins."""


class KeepingSink(Sink[Options]):
    """Keeps what it is given, and calls it delivered."""

    name = "keeping"

    def __init__(self) -> None:
        super().__init__(Options())
        self.mails: list[Mail] = []

    def deliver(self, mail: Mail) -> Receipt:
        """Keep it."""
        self.mails.append(mail)
        return Receipt.of_all(mail.envelope.forward_paths, Fate.DELIVERED, "2.0.0", "kept for the test")


@dataclass(frozen=True, slots=True)
class PipelineResult:
    """What became of the mails.

    Attributes:
        outcomes: one for each mail that was put in, in order; what stages made of one is in its `children`.
        delivered: the mails as they reached the sink, in order.
        folder: where the pipeline ran; what its stages wrote by relative paths is here.
    """

    outcomes: tuple[Outcome, ...]
    delivered: tuple[Mail, ...]
    folder: Path

    @property
    def messages(self) -> tuple[Message, ...]:
        """The delivered messages."""
        return tuple(mail.message for mail in self.delivered)

    @property
    def outcome(self) -> Outcome:
        """The outcome of the only mail.

        Raises:
            AssertionError: there were none or several.
        """
        assert len(self.outcomes) == 1, f"there are {len(self.outcomes)} outcomes; look at .outcomes"
        return self.outcomes[0]

    def assert_endings(self, *endings: str) -> None:
        """The mails ended so, in order: "delivered", "dropped", "rejected", …; one word stands for all of them."""
        found = [each.ending.value for each in self.outcomes]
        wanted = list(endings) * (len(found) if len(endings) == 1 else 1)
        told = "; ".join(f"{each.origin}: {each.ending.value}, {_why(each)}" for each in self.outcomes)
        assert found == wanted, f"should have been {', '.join(endings)}: {told}"


class PipelineRunner:
    """Runs pipelines; the fixture `run_pipeline` is one for each test.

    Attributes:
        folder: where they run.
    """

    def __init__(
        self,
        folder: Path,
        make_mail: MailMaker | None = None,
        set_secret: Callable[[str, str], None] | None = None,
    ) -> None:
        self.folder = folder
        self._make_mail = make_mail or MailMaker(MessageBuilder())
        self._set_secret = set_secret

    def __call__(
        self,
        pipeline: str | Path,
        *mails: Mail | Message | bytes | str,
        plugins: Sequence[Plugin] = (),
        overrides: Sequence[str] = (),
        secrets: Mapping[str, str] | None = None,
        use_sink: bool = False,
    ) -> PipelineResult:
        """Take mails through a pipeline, one after the other.

        Args:
            pipeline: TOML, or the path of a file; of a file, relative paths and plugins are those beside it.
            mails: mails, or what `make_mail` makes mails of.
            plugins: components that are not installed; one that the pipeline knows already counts once.
            overrides: "stage.tag-subject.word=tides", as --set takes them.
            secrets: name → value.
            use_sink: let the file's own sink deliver; then nothing is in `delivered`.

        Raises:
            SettingsError: the pipeline file cannot be used; it says where.
            MailpipeError: a stage or the sink cannot be opened.
        """
        for name, value in (secrets or {}).items():
            assert self._set_secret is not None, "this runner has nowhere to put secrets; use the fixture"
            self._set_secret(name, value)
        if isinstance(pipeline, Path):
            file, text = pipeline, pipeline.read_text("utf-8")
        else:
            file, text = self.folder / "pipeline.toml", dedent(pipeline)
            self.folder.mkdir(parents=True, exist_ok=True)
            file.write_text(text, "utf-8")
        given = [self._make_mail(mail) for mail in mails]
        for path in plugins:
            if isinstance(path, Path):
                (file.parent / FOLDER).mkdir(exist_ok=True)
                copyfile(path, file.parent / FOLDER / path.name)
        registry = load_registry(file.parent)
        for plugin in plugins:
            if not isinstance(plugin, Path):
                _add(registry, plugin)
        sink = None if use_sink else KeepingSink()
        with assemble(parse_settings(text, file, registry, overrides), registry, sink) as line:
            line.open()
            raws = [RawMail(bytes(mail.message), mail.origin, mail.envelope) for mail in given]
            outcomes = tuple(line.process(raw) for raw in raws)
        return PipelineResult(outcomes, tuple(sink.mails) if sink is not None else (), file.parent)


def _add(registry: Registry, plugin: Any) -> None:
    component = stage_of(plugin)
    kind: Kind = "stage"
    if isinstance(component, type) and not issubclass(component, Stage):
        kind = "sink" if issubclass(component, Sink) else "source"
    if getattr(component, "name", None) in registry.names(kind):
        return
    add = {"stage": registry.add_stage, "sink": registry.add_sink, "source": registry.add_source}[kind]
    add(component)


def _why(outcome: Outcome) -> str:
    return f"{outcome.status} {outcome.reason}" + (f" ({outcome.stage})" if outcome.stage else "")
