"""The contract of a stage catches one that breaks it; that the built-in stages keep it is in tests/stages."""

import random
from itertools import count

import pytest

import mailpipe
from mailpipe import Access, Mail, Verdict
from mailpipe.pipeline.verdict import Decision
from mailpipe.testing import StageContract, hostile_messages, ordinary_messages


@mailpipe.stage("fine", touches=Access(fields=("X-Fine",)))
def fine(mail: Mail) -> Mail:
    """Keeps it."""
    return mail.with_message(mail.message.with_header("X-Fine", "yes"))


class TestAFunction(StageContract):
    stage = fine



def broken(name, test, **more):
    """A stage that breaks the contract in one way, and the test that says so."""

    def wrap(process):
        process.__doc__, process.__name__ = "Breaks it.", name
        return pytest.param(mailpipe.stage(name, **more)(process), test, id=name)

    return wrap


def sliced(mail):
    return mail.with_message(mailpipe.parse(bytes(mail.message)[:-1]))


def unsaid(mail):
    return mail.with_message(mail.message.with_header("X-B", "1"))


numbers = count()


@pytest.mark.parametrize(
    ("stage", "test"),
    [
        broken("raises", "test_no_message_makes_it_raise")(lambda mail: mail.message.header["Subject"] and mail),
        broken("nothing", "test_no_message_makes_it_raise")(lambda mail: None),
        broken("slices", "test_it_touches_only_what_it_declares", touches=Access(fields=("*",)))(sliced),
        broken("unsaid", "test_it_touches_only_what_it_declares", touches=Access(fields=("X-A",)))(unsaid),
        broken("notes", "test_it_touches_only_what_it_declares", touches=Access())(lambda mail: mail.with_note(3)),
        broken("counts", "test_the_same_mail_ends_the_same")(lambda mail: mail.with_note(next(numbers))),
        broken("draws", "test_the_same_mail_ends_the_same")(
            lambda mail: mail if random.random() < 0.5 else Verdict.drop("bad luck")
        ),
    ],
)
def test_a_stage_that_breaks_it_is_caught(tmp_path, stage, test):
    kept = type("Kept", (StageContract,), {"stage": staticmethod(stage), "is_deterministic": True})()
    with pytest.raises(AssertionError):
        getattr(kept, test)(tmp_path)


def test_a_decision_that_was_not_declared_is_caught(tmp_path):
    class Decides(mailpipe.Stage[mailpipe.Options]):
        """Says that it drops, and rejects."""

        name = "decides"
        decides = (Decision.DROP,)

        def process(self, mail: Mail) -> Verdict:
            return Verdict.reject("no")

    kept = type("Kept", (StageContract,), {"stage": Decides})()
    with pytest.raises(AssertionError, match="add it to `decides`"):
        kept.test_it_decides_only_what_it_declares(tmp_path)


def test_a_stage_that_writes_without_saying_so_is_caught(tmp_path):
    class Writes(mailpipe.Stage[mailpipe.Options]):
        """Writes a file."""

        name = "writes"

        def process(self, mail: Mail) -> Mail:
            (tmp_path / "written.txt").write_text("x")
            return mail

    kept = type("Kept", (StageContract,), {"stage": Writes})()
    with pytest.raises(AssertionError, match=r"it wrote written.txt; say acts = True"):
        kept.test_it_writes_files_only_where_it_says_that_it_acts(tmp_path)
    Writes.acts = True
    kept.test_it_writes_files_only_where_it_says_that_it_acts(tmp_path)


def test_a_stage_that_always_decides_does(tmp_path):
    class Decides(mailpipe.Stage[mailpipe.Options]):
        """Says that it always decides, and does not."""

        name = "decides"
        always_decides = True

        def process(self, mail: Mail) -> Mail:
            return mail

    kept = type("Kept", (StageContract,), {"stage": Decides})()
    with pytest.raises(AssertionError, match="it says that it always decides"):
        kept.test_it_decides_only_what_it_declares(tmp_path)


def test_specimens_are_many_different_and_the_same_each_time():
    both = {**ordinary_messages(), **hostile_messages()}
    assert len(both) > 80 and len(set(both.values())) == len(both)
    assert both == {**ordinary_messages(), **hostile_messages()}


def test_ordinary_messages_are_without_defects():
    found = {name: mailpipe.parse(octets).defects for name, octets in ordinary_messages().items()}
    assert not {name: defects for name, defects in found.items() if defects}
