"""Numbers, threads, routes; several workers, retries, and what a sender may try."""

import multiprocessing
import os
from pathlib import Path

import pytest
from pydantic import ValidationError
from ticket_router import TicketAssigned, TicketRouter, TicketRouterOptions

from mailpipe import Envelope, Mail, Origin, Services, parse
from mailpipe.errors import OutputError
from mailpipe.testing import MailMaker, MessageBuilder, OpenStage, PipelineRunner, StageContract, StageRunner

OPTIONS = {"database": "tickets.sqlite", "addresses": ("support@example.org",)}


class TestContract(StageContract):
    """What a pipeline takes for granted of every stage; all of its mail is for the desk."""

    stage = TicketRouter
    options = {"database": "tickets.sqlite", "addresses": ("bruno@example.net",), "route_to": "d+{ticket}@example.net"}


class TestContractWithoutRoute(StageContract):
    """It does not touch the envelope then."""

    stage = TicketRouter
    options = {"database": "tickets.sqlite", "addresses": ("bruno@example.net",)}


@pytest.fixture
def desk(run_stage: StageRunner) -> OpenStage:
    """A router that is open."""
    return run_stage.open(TicketRouter, OPTIONS)


@pytest.fixture
def letter(build_message: MessageBuilder) -> MessageBuilder:
    """Messages to the desk."""

    class ToTheDesk(MessageBuilder):
        def __call__(self, **words):  # type: ignore[no-untyped-def,override]
            return super().__call__(to="Support <support@example.org>", **words)

    return ToTheDesk()


def number_of(stage: OpenStage, message: object) -> int:
    (note,) = (note for note in stage.run(message).notes if isinstance(note, TicketAssigned))  # type: ignore[arg-type]
    return note.number


def test_a_new_mail_opens_a_ticket_and_is_tagged(desk: OpenStage, letter: MessageBuilder) -> None:
    result = desk.run(letter(subject="Pump is leaking"))
    assert result.mail.message.subject == "[#1] Pump is leaking"
    assert TicketAssigned(1, is_new=True) in result.notes
    result.assert_only_touched_what_it_declared()
    assert number_of(desk, letter()) == 2 and desk.run(letter()).metrics == {"opened": 3}


def test_mail_to_somebody_else_passes_untouched(desk: OpenStage, build_message: MessageBuilder) -> None:
    desk.run(build_message()).assert_unchanged()


def test_answers_belong_to_the_ticket_of_what_they_answer(desk: OpenStage, letter: MessageBuilder) -> None:
    first, other = letter(message_id="1@a.example"), letter(message_id="2@a.example")
    assert (number_of(desk, first), number_of(desk, other)) == (1, 2)
    answer = letter(headers={"In-Reply-To": "<1@a.example>"}, message_id="3@a.example")
    # the desk's own answer was not seen here, the mail that it answered was
    later = letter(headers={"In-Reply-To": "<x@desk.example>", "References": "<1@a.example> <x@desk.example>"})
    nearest = letter(headers={"References": "<2@a.example> <3@a.example> <y@desk.example>"})
    assert [number_of(desk, each) for each in (answer, later, nearest)] == [1, 1, 1]


def test_a_tag_in_the_subject_is_enough_where_the_ticket_exists(desk: OpenStage, letter: MessageBuilder) -> None:
    number_of(desk, letter())
    result = desk.run(letter(subject="Re: [#1] Pump"))
    assert result.mail.message.subject == "Re: [#1] Pump" and TicketAssigned(1, is_new=False) in result.notes
    result = desk.run(letter(subject="Re: [#99] Pump"))
    assert result.mail.message.subject == "[#2] Re: [#99] Pump"
    assert number_of(desk, letter(subject="[#" + "9" * 5000 + "]")) == 3


def test_a_tag_proves_nothing_where_it_is_not_trusted(run_stage: StageRunner, letter: MessageBuilder) -> None:
    desk = run_stage.open(TicketRouter, OPTIONS, trust_subject=False)
    assert [number_of(desk, letter(subject=subject)) for subject in ("Pump", "Re: [#1] Pump")] == [1, 2]


def test_the_same_mail_at_a_retry_has_the_same_number(
    run_stage: StageRunner, letter: MessageBuilder, desk: OpenStage
) -> None:
    for message in (letter(), letter(message_id=None)):
        first = desk.run(message)
        again = run_stage(TicketRouter, message, OPTIONS)
        assert bytes(again.mail.message) == bytes(first.mail.message)


def test_the_desk_s_recipients_are_rewritten_and_others_are_not(
    run_stage: StageRunner, letter: MessageBuilder, make_mail: MailMaker
) -> None:
    desk = run_stage.open(TicketRouter, OPTIONS, route_to="desk+{ticket}@example.net", addresses=("support@example.org", "help@example.org"))
    mail = make_mail(letter(), recipients=["Support@Example.org", "carla@example.com", "help@example.org"])
    result = desk.run(mail)
    assert result.mail.envelope.addresses == ("desk+1@example.net", "carla@example.com")
    assert result.changes.envelope and result.changes.fields == ("Subject",)


def test_a_number_outlives_the_process_and_is_never_given_twice(run_stage: StageRunner, letter: MessageBuilder) -> None:
    numbers = []
    for _ in range(3):
        desk = run_stage.open(TicketRouter, OPTIONS, first=4000)
        numbers.append(number_of(desk, letter(message_id=f"{len(numbers)}@a.example")))
        desk.close()
    assert numbers == [4000, 4001, 4002]


def test_a_database_that_cannot_be_opened_or_written_is_told(
    run_stage: StageRunner, letter: MessageBuilder, tmp_path: Path, run_pipeline: PipelineRunner
) -> None:
    with pytest.raises(OutputError, match="its folder is there"):
        run_stage.open(TicketRouter, OPTIONS, database="nowhere/tickets.sqlite")
    (tmp_path / "noise.sqlite").write_bytes(b"no database" * 100)
    with pytest.raises(OutputError, match="not a database"):
        run_stage.open(TicketRouter, OPTIONS, database="noise.sqlite")


@pytest.mark.parametrize(
    "wrong",
    [{"addresses": ()}, {"route_to": "desk {ticket}"}, {"tag": "ticket"}, {"tag": "{ticket}"}, {"first": 0}],
    ids=str,
)
def test_options_that_cannot_be_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        TicketRouterOptions.model_validate({**OPTIONS, **wrong})


def _take(path: str, octets: list[bytes]) -> None:
    stage = TicketRouter(TicketRouterOptions(database=Path(path), addresses=("support@example.org",)))
    stage.open(Services.for_tests(stage.name))
    for number, each in enumerate(octets):
        mail = Mail(parse(each), Envelope.of("ann@example.org", "support@example.org"), Origin("test", "x", number))
        assert len(list(stage.process(mail).notes_of(TicketAssigned))) == 1
    stage.close()
    os._exit(0)


def test_several_workers_give_one_mail_one_number(letter: MessageBuilder, tmp_path: Path, run_stage: StageRunner) -> None:
    octets = [bytes(letter()) for _ in range(20)]
    context = multiprocessing.get_context("fork")
    workers = [context.Process(target=_take, args=(str(tmp_path / "t.sqlite"), octets[::step])) for step in (1, -1, 1)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(100)
    assert [worker.exitcode for worker in workers] == [0, 0, 0]
    desk = run_stage.open(TicketRouter, OPTIONS, database="t.sqlite")
    assert sorted(number_of(desk, each) for each in octets) == list(range(1, 21))


def test_it_runs_in_a_pipeline(run_pipeline: PipelineRunner, letter: MessageBuilder) -> None:
    text = '[[stage]]\nuse = "ticket-router"\ndatabase = "t.sqlite"\naddresses = ["support@example.org"]\n'
    result = run_pipeline(text, letter(), letter(), plugins=[TicketRouter])
    result.assert_endings("delivered")
    assert [(message.subject or "")[:4] for message in result.messages] == ["[#1]", "[#2]"]
