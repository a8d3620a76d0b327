"""A stage that is asked outside of a pipeline, and what is told of its answer."""

from datetime import timedelta

import pytest
from pydantic import ValidationError

import mailpipe
from mailpipe import Access, Mail, Services, Verdict
from mailpipe.errors import PluginError, SecretMissing, UnknownComponent
from mailpipe.message import compose
from mailpipe.pipeline.mail import Changed
from mailpipe.testing import VirtualClock
from mailpipe.testing.changes import Changes, changes_between

MIXED = (
    b"Subject: x\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n"
    b"--b\r\n\r\none\r\n--b\r\n\r\ntwo\r\n--b--\r\n"
)


class Counting(mailpipe.Stage[mailpipe.Options]):
    """Counts, sleeps, and asks for a secret."""

    name = "counting"
    life: list[str] = []  # what the test looks at

    def open(self, services: Services) -> None:
        self.services, self.count = services, 0
        self.life.append(services.secrets.get("word"))

    def process(self, mail: Mail) -> Mail:
        self.count += 1
        self.services.metrics.count("mails")
        self.services.clock.sleep(60)
        return mail.with_note(Changed(self.name, str(self.count)))

    def close(self) -> None:
        self.life.append("closed")


class Async(mailpipe.Stage[mailpipe.Options]):
    """Makes two of one, in its own time."""

    name = "async"

    async def open(self, services: Services) -> None:
        self.is_open = True

    async def process(self, mail: Mail):
        yield mail
        yield mail.with_note("second")


def stage_of(function, **more):
    function.__name__, function.__doc__ = "thing", "Does a thing."
    return mailpipe.stage("thing", **more)(function)


def test_a_stage_is_opened_with_a_virtual_clock_and_secrets_and_closed(run_stage, virtual_clock):
    Counting.life.clear()
    with pytest.raises(SecretMissing):
        run_stage(Counting)
    run_stage.secrets["word"] = "tide"
    assert run_stage(Counting).metrics == {"mails": 1}
    assert Counting.life == ["tide", "closed"]
    opened = run_stage.open(Counting)
    assert [opened.run().notes[0].what for _ in range(2)] == ["1", "2"]
    assert opened.run().metrics == {"mails": 3} and virtual_clock.slept == [60] * 4
    opened.close()
    opened.close()
    assert Counting.life == ["tide", "closed"] * 2


def test_an_async_stage_and_several_mails_are_no_matter(run_stage):
    result = run_stage(Async)
    assert len(result.mails) == 2 and result.notes == ("second",)
    with pytest.raises(AssertionError, match="async made 2 mails of one"):
        _ = result.mail


def test_a_stage_is_found_by_its_name_and_options_are_checked(run_stage, tmp_path):
    result = run_stage("extract-attachments", MIXED, directory="out")
    assert result.mails and (tmp_path / "out").is_dir()
    with pytest.raises(ValidationError, match="colour"):
        run_stage("extract-attachments", MIXED, {"directory": "out"}, colour="red")
    with pytest.raises(UnknownComponent):
        run_stage("extract-atachments")
    with pytest.raises(PluginError):
        run_stage(lambda mail: mail)


@pytest.mark.parametrize("answer", [None, 3, "text", [3], b"x"])
def test_an_answer_that_is_none_is_told(run_stage, answer):
    with pytest.raises(TypeError, match="thing"):
        run_stage(stage_of(lambda mail: answer))


def test_what_a_stage_raises_comes_out(run_stage):
    with pytest.raises(ZeroDivisionError):
        run_stage(stage_of(lambda mail: 1 / 0))


def test_a_verdict_is_asked_for_by_decision_status_and_reason(run_stage):
    result = run_stage(stage_of(lambda mail: Verdict.reject("no programs", status="5.7.0", notes=(1,))))
    assert result.assert_verdict("reject", status="5.7.0", reason="programs") is result.verdict
    assert not result.changes and result.notes == (1,)
    for wrong in (("drop", None, ""), ("reject", "5.7.1", ""), ("reject", None, "letters")):
        with pytest.raises(AssertionError, match=r"thing said reject \(5.7.0 no programs\)"):
            result.assert_verdict(wrong[0], status=wrong[1], reason=wrong[2])
    for ask in (lambda: result.mail, result.assert_unchanged):
        with pytest.raises(AssertionError):
            ask()


@pytest.mark.parametrize(
    ("change", "expected", "words"),
    [
        (lambda m: m, Changes(), "nothing changed"),
        (lambda m: mailpipe.parse(bytes(m)), Changes(), "nothing changed"),
        (lambda m: m.with_header("X-A", "1"), Changes(fields_added=("X-A",)), "X-A added"),
        (lambda m: m.with_header(m.header.without("subject")), Changes(fields_removed=("Subject",)), "Subject removed"),
        (lambda m: m.with_header("subject", "x y"), Changes(fields_changed=("Subject",)), "Subject changed"),
        (
            lambda m: m.with_header(m.header.with_fields(reversed(m.header.lines))),
            Changes(fields_moved=True),
            "the order of the fields changed",
        ),
        (lambda m: m.remove("2"), Changes(parts_removed=("2",), body=True), "part 2 removed"),
        (
            lambda m: m.replace("1", compose.text("uno\n")),
            Changes(parts_changed=("1",), body=True),
            "part 1 changed",
        ),
        (lambda m: m.attach(compose.text("three")), Changes(parts_added=("3",), body=True), "part 3 added"),
        (
            lambda m: mailpipe.parse(bytes(m) + b"epilogue\r\n"),
            Changes(body=True),
            "octets between the parts changed",
        ),
    ],
)
def test_changes_are_told_field_by_field_and_part_by_part(make_mail, change, expected, words):
    mail = make_mail(MIXED)
    found = changes_between(mail, mail.with_message(change(mail.message)))
    assert found == expected and str(found) == words
    assert bool(found) is (expected != Changes())


def test_a_field_behind_a_header_that_broke_off_is_the_only_change(make_mail):
    mail = make_mail(b"Subject: x\r\nTo: bruno@example.net")
    after = mail.with_message(mail.message.with_header("X-A", "1"))
    assert changes_between(mail, after) == Changes(fields_added=("X-A",))


def test_a_line_end_that_was_mended_is_a_change(make_mail):
    mail = make_mail(b"Subject: x\nTo: b@example.net\n\nHi\n")
    after = mail.with_message(mailpipe.parse(b"Subject: x\r\nTo: b@example.net\n\nHi\n"))
    assert changes_between(mail, after).fields_changed == ("Subject",)


@pytest.mark.parametrize(
    ("access", "beyond"),
    [
        (Access(), ("the field Subject", "the field MIME-Version", "the body (part 2)", "the envelope", "the note str")),
        (Access(fields=("subject",), body=True), ("the envelope", "the note str")),
        (Access(fields=("*",), envelope=True, notes=(str,)), ("the body (part 2)",)),
        (Access(fields=("*",), body=True, envelope=True), ()),
    ],
)
def test_what_is_beyond_an_access_is_named(make_mail, access, beyond):
    mail = make_mail(MIXED)
    message = mail.message.remove("2")
    message = message.with_header(message.header.with_field("Subject", "y").without("MIME-Version"))
    after = mail.with_message(message).with_envelope(mailpipe.Envelope.of("", "c@example.net"))
    changes = changes_between(mail, after.with_note(Changed("x", "y"), "note"))
    assert sorted(changes.beyond(access)) == sorted(beyond)


def test_a_clock_stands_until_it_is_turned():
    clock = VirtualClock()
    begun, ticks = clock.now(), clock.monotonic()
    clock.sleep(1.5)
    clock.advance(timedelta(days=1))
    assert clock.now() - begun == timedelta(days=1, seconds=1.5)
    assert clock.monotonic() - ticks == 86401.5 and clock.slept == [1.5]
    clock.timestamp -= 3600
    assert clock.monotonic() - ticks == 86401.5 and clock() == clock.now().timestamp()
    with pytest.raises(ValueError, match="forward"):
        clock.advance(-1)
    with pytest.raises(ValueError, match="zone"):
        VirtualClock(begun.replace(tzinfo=None))
