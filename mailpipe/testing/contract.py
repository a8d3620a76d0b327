"""The contract of a stage as tests to inherit: what every pipeline takes for granted.

    class TestTagSubject(StageContract):
        stage = TagSubject
        options = {"word": "list"}

It is asked about the ordinary and the hostile messages of `specimens`, and the test's own `messages`: that it raises
nothing, answers as a stage does, touches what it declares and leaves the rest octet for octet, says the same about the
same mail, and that its options are documented and travel to other processes.

Never here: what the stage is for; its own tests say that.
"""

import pickle
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar

from mailpipe.message import parse
from mailpipe.pipeline.component import Options
from mailpipe.pipeline.mail import Mail, Origin
from mailpipe.smtp.envelope import Envelope
from mailpipe.testing.clock import VirtualClock
from mailpipe.testing.specimens import hostile_messages, ordinary_messages
from mailpipe.testing.stages import StageResult, StageRunner, class_of

SHOWN = 5
"""Troubles that a failure tells at most; the others are of the same kind."""


class StageContract:
    """Tests to inherit; each uses nothing but `tmp_path`.

    Attributes:
        stage: a class, a decorated function, or a name.
        options: its options; relative paths lie in a folder of each test.
        secrets: name → value, for `services.secrets`.
        messages: name → octets of more messages.
        is_deterministic: whether the same mail ends the same at one that was opened anew; False for a stage that draws
            lots.
    """

    stage: ClassVar[Any]
    options: ClassVar[Mapping[str, Any]] = {}
    secrets: ClassVar[Mapping[str, str]] = {}
    messages: ClassVar[Mapping[str, bytes]] = {}
    is_deterministic: ClassVar[bool] = True

    def test_every_option_is_documented(self) -> None:
        """Name, docstring, methods and options are as a pipeline wants them; see `Registry.add_stage`."""
        kind = self._kind()
        bare = [name for name, each in kind.Options.model_fields.items() if not (each.description or "").strip()]
        assert not bare, f"write a docstring under the options {', '.join(bare)}"

    def test_options_travel_to_other_processes(self, tmp_path: Path) -> None:
        """A run with several workers sends them there."""
        made = self._made(tmp_path)
        assert pickle.loads(pickle.dumps(made)) == made  # our own octets
        assert self._kind().Options.model_validate_json(made.model_dump_json(by_alias=True)) == made

    def test_it_opens_and_closes_without_a_mail(self, tmp_path: Path) -> None:
        """A run without mail is a run."""
        self._runner(tmp_path).open(type(self).stage, self._made(tmp_path)).close()

    def test_no_message_makes_it_raise(self, tmp_path: Path) -> None:
        """Whatever a sender wrote, the answer is a mail, several, or a verdict."""
        self._of_each(tmp_path, lambda result: None)

    def test_it_touches_only_what_it_declares(self, tmp_path: Path) -> None:
        """And leaves everything else octet for octet."""
        self._of_each(tmp_path, StageResult.assert_only_touched_what_it_declared)

    def test_what_it_makes_can_be_read_again(self, tmp_path: Path) -> None:
        """The octets of what it passes on are the octets of what is read from them."""

        def read(result: StageResult) -> None:
            for mail in result.mails:
                octets = bytes(mail.message)
                assert bytes(parse(octets)) == octets
                assert mail.message.header.items() == parse(octets).header.items(), "the header is read otherwise"

        self._of_each(tmp_path, read)

    def test_it_decides_only_what_it_declares(self, tmp_path: Path) -> None:
        """Where a stage says which verdicts it may have, it has no others; and always one where it says so."""
        known = self._kind().decisions(self._made(tmp_path))
        always = self._kind().always_decides

        def decided(result: StageResult) -> None:
            assert result.verdict is not None or not always, "it passed a mail on; it says that it always decides"
            if known is not None and result.verdict is not None:
                assert result.verdict.decision in known, f"it said {result.verdict.decision.value}; add it to `decides`"

        self._of_each(tmp_path, decided)

    def test_it_writes_files_only_where_it_says_that_it_acts(self, tmp_path: Path) -> None:
        """`mailpipe try` and `diff` leave out a stage that acts, and play every other one as often as they like."""
        self._of_each(tmp_path, lambda result: None)
        files = [path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()]
        if not (self._kind().acts or self._made(tmp_path).keeps_state):
            assert not files, f"it wrote {', '.join(sorted(files)[:SHOWN])}; say acts = True"

    def test_the_same_mail_ends_the_same(self, tmp_path: Path) -> None:
        """Opened anew in an empty folder, it says the same; its clock and its folder are the same too."""
        if not self.is_deterministic:
            return
        place = tmp_path / "place"  # the same path both times: a stage may tell it
        tellings: list[list[tuple[str, object]]] = []
        for turn in ("first", "second"):
            place.mkdir()
            told: list[tuple[str, object]] = []
            self._of_each(place, lambda result, told=told: told.append(_told(result)))  # type: ignore[misc]
            tellings.append(told)
            place.rename(tmp_path / turn)
        wrong = [one[0] for one, other in zip(*tellings, strict=True) if one != other]
        assert not wrong, f"another answer to the same mail: {', '.join(wrong[:SHOWN])}"

    # -- how

    def _kind(self) -> Any:
        return class_of(type(self).stage)

    def _made(self, folder: Path) -> Options:
        made = self._kind().Options.model_validate(dict(self.options), context={"base": folder})
        assert isinstance(made, Options)
        return made

    def _runner(self, folder: Path) -> StageRunner:
        runner = StageRunner(folder, VirtualClock())
        runner.secrets.update(self.secrets)
        return runner

    def _of_each(self, folder: Path, ask: Callable[[StageResult], object]) -> None:
        """Ask about every message, by one stage that stays open; tell all that went wrong at once."""
        opened = self._runner(folder).open(type(self).stage, self._made(folder))
        troubles: list[str] = []
        try:
            for name, octets in {**ordinary_messages(), **hostile_messages(), **self.messages}.items():
                try:
                    ask(opened.run(_mail(name, octets)))
                except Exception as error:  # noqa: BLE001 - whatever it is, the others are asked too
                    troubles.append(f"{name}: {type(error).__name__}: {error}")
        finally:
            opened.close()
        assert not troubles, f"{len(troubles)} messages: " + "\n".join(troubles[:SHOWN])


def _mail(name: str, octets: bytes) -> Mail:
    envelope = Envelope.of("ann@example.org", "bruno@example.net")
    return Mail(parse(octets), envelope, Origin("test", "specimens.mbox", ident=name, size=len(octets)))


def _told(result: StageResult) -> tuple[str, object]:
    mails = [(bytes(mail.message), mail.envelope, mail.notes) for mail in result.mails]
    return str(result.given.origin), (result.verdict, mails)
