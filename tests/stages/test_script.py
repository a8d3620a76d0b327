"""One line of Python decides about a mail; a mistake in it is found before any mail flows, or costs that mail nothing."""

import pytest
from pydantic import ValidationError

from mailpipe.errors import ConfigError, InputError
from mailpipe.pipeline.verdict import Decision, Verdict
from mailpipe.stages.script import Script, ScriptFailed, ScriptOptions

LETTER = b"From: Ann <ann@example.org>\r\nSubject: Lunch\r\n\r\nAt twelve?\r\n"


@pytest.fixture
def said(mail, stage):
    """What an expression comes to for a letter."""
    return lambda expression: stage(Script, expression=expression).process(mail(LETTER))


@pytest.mark.parametrize(
    "expression",
    [
        "True",
        "None",
        "message.subject == 'Lunch'",
        "'Subject' in header and envelope.addresses == ('bob@example.net',)",
        "origin.source == 'eml' and\n any(one for one in [mail])",
        "  len(message) > 0",
    ],
)
def test_what_is_true_passes_the_mail_itself(mail, stage, expression):
    given = mail(LETTER)
    assert stage(Script, expression=expression).process(given) is given


def test_what_is_false_drops_it(mail, stage):
    verdict = stage(Script, expression="message.subject is None", reason="no lunch").process(mail(LETTER))
    assert verdict == Verdict.drop("no lunch")


def test_verdicts_and_mails_are_what_they_are(said):
    assert said("Verdict.reject('not now')").decision is Decision.REJECT
    assert said("mail.with_message(message.with_header(header.with_field('X', 'y')))").message.header["X"] == "y"
    assert len(list(said("[mail, mail]"))) == 2


@pytest.mark.parametrize("expression", ["1", "'yes'", "0", "message.subject", "b''"])
def test_anything_else_is_a_mistake(said, expression):
    with pytest.raises(TypeError, match=r"the script came to .*; it must be True, False, None"):
        said(expression)


def test_an_expression_that_raises_says_so(said):
    with pytest.raises(ScriptFailed, match=r"^the expression: ZeroDivisionError: division by zero$"):
        said("1 / 0")


@pytest.mark.parametrize(("text", "words"), [("message.", "at line"), ("  x = 1", "at line 1, column 3"), ("", "it is empty"), ("a b", "column 1"), ("\0", "null bytes")])
def test_a_mistake_in_an_expression_is_one_of_the_pipeline_file(text, words):
    with pytest.raises(ValidationError, match=words):
        ScriptOptions(expression=text)


def test_one_of_both_is_needed(tmp_path):
    for given in ({}, {"expression": "True", "file": str(tmp_path)}):
        with pytest.raises(ValidationError, match="give either 'expression' or 'file'"):
            ScriptOptions(**given)


def test_a_file_has_a_function(mail, stage, tmp_path):
    file = tmp_path / "a filter.py"
    file.write_text(
        "from mailpipe import Verdict\n\nSEEN = set()\n\n"
        "def process(mail):\n    if mail.message.subject in SEEN:\n        return Verdict.drop('again')\n"
        "    SEEN.add(mail.message.subject)\n"
    )
    one = stage(Script, file=str(file))
    given = mail(LETTER)
    assert one.process(given) is given
    assert one.process(given) == Verdict.drop("again")


def test_a_function_may_be_async(mail, stage, tmp_path):
    file = tmp_path / "later.py"
    file.write_text("async def process(mail):\n    return False\n")
    assert stage(Script, file=str(file)).process(mail(LETTER)).decision is Decision.DROP
    file.write_text("async def process(mail):\n    yield mail\n    yield mail\n")
    assert len(list(stage(Script, file=str(file)).process(mail(LETTER)))) == 2


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("def process(mail:\n", r"x\.py:1:12: '\(' was never closed"),
        ("import nowhere_at_all\n", r"x\.py:1: ModuleNotFoundError: No module named 'nowhere_at_all'"),
        ("\n\nraise SystemExit(3)\n", r"x\.py:3: SystemExit: 3"),
        ("x = 1\n", r"x\.py: it has no function process\(mail\)"),
        ("x = '\x00'\n", r"x\.py"),
    ],
)
def test_a_mistake_in_a_file_has_its_place(stage, tmp_path, source, words):
    file = tmp_path / "x.py"
    file.write_text(source)
    with pytest.raises(ConfigError, match=words):
        stage(Script, file=str(file))


def test_a_file_that_is_not_there_is_named(stage, tmp_path):
    with pytest.raises(InputError, match=r"none\.py: cannot read"):
        stage(Script, file=str(tmp_path / "none.py"))


def test_a_file_that_raises_names_its_line(mail, stage, tmp_path):
    file = tmp_path / "x.py"
    file.write_text("def process(mail):\n    inner()\n\ndef inner():\n    raise ValueError('100% wrong')\n")
    with pytest.raises(ScriptFailed) as caught:
        stage(Script, file=str(file)).process(mail(LETTER))
    assert str(caught.value) == f"{file}:5: ValueError: 100% wrong"
