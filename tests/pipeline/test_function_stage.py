"""Stages as functions and as coroutines are stages like any other."""

import asyncio

import pytest

import mailpipe
from mailpipe import Access, Mail, Options, Services, Verdict
from mailpipe.errors import PluginError
from mailpipe.pipeline.async_stage import caller_of, run_to_its_end
from mailpipe.pipeline.function_stage import stage_of
from mailpipe.pipeline.registry import Registry


class WordOptions(Options):
    """What is put before."""

    word: str = "list"
    """The word."""


@mailpipe.stage(touches=Access(fields=("Subject",)))
def tag_the_subject(mail: Mail, options: WordOptions) -> Mail:
    """Puts a word before the subject."""
    header = mail.message.header.with_field("Subject", f"[{options.word}] {mail.message.subject}")
    return mail.with_message(mail.message.with_header(header))


@mailpipe.stage("say-no")
async def refuse(mail: Mail) -> Verdict:
    """Refuses everything, after a while."""
    await asyncio.sleep(0)
    return Verdict.reject("no")


@mailpipe.stage()
async def twice(mail: Mail):
    """Makes two of one."""
    for _ in range(2):
        await asyncio.sleep(0)
        yield mail


@pytest.fixture
def a_mail():
    def make(octets):
        return Mail(mailpipe.parse(octets), mailpipe.Envelope.of("ann@example.org"), mailpipe.Origin("test", "-"))

    return make


@pytest.fixture
def registry():
    registry = Registry()
    for each in (tag_the_subject, refuse, twice):
        registry.add_stage(each)
    return registry


def opened(registry, name, **options):
    kind = registry.stage(name)
    made = kind(kind.Options(**options))
    run_to_its_end(made.open(Services.for_tests(name)))
    return caller_of(made)


def test_a_function_is_a_stage_with_options(registry, a_mail):
    changed = opened(registry, "tag-the-subject", word="tides")(a_mail(b"Subject: high water\r\n\r\n"))
    assert changed.message.subject == "[tides] high water"
    assert registry.stage("tag-the-subject").touches == Access(fields=("Subject",))
    assert registry.entry("stage", "tag-the-subject").summary == "Puts a word before the subject."


def test_the_function_stays_a_function(a_mail):
    assert tag_the_subject(a_mail(b"Subject: x\r\n\r\n"), WordOptions()).message.subject == "[list] x"


def test_a_coroutine_is_run_to_its_end(registry, a_mail):
    assert opened(registry, "say-no")(a_mail(b"\r\n")) == Verdict.reject("no")
    assert len(opened(registry, "twice")(a_mail(b"\r\n"))) == 2


def test_one_loop_serves_all_mails_of_a_thread(a_mail):
    loops = set()

    @mailpipe.stage()
    async def which(mail: Mail) -> Mail:
        """Looks which loop it is."""
        loops.add(asyncio.get_running_loop())
        return mail

    call = caller_of(stage_of(which)(Options()))
    for _ in range(3):
        call(a_mail(b"\r\n"))
    assert len(loops) == 1


def test_an_endless_stage_is_cut_off(a_mail):
    @mailpipe.stage()
    async def endless(mail: Mail):
        """Never ends."""
        while True:
            yield mail

    made = stage_of(endless)(Options())
    assert len(run_to_its_end(made.process(a_mail(b"\r\n")), most=5)) == 6


def test_parameters_of_another_kind_are_refused_where_they_stand():
    with pytest.raises(TypeError, match="annotate 'word' with a class derived from Options"):

        @mailpipe.stage()
        def tagged(mail: Mail, word: str) -> Mail:
            """Tags."""

    with pytest.raises(TypeError, match=r"takes \(mail\) or \(mail, options\)"):

        @mailpipe.stage()
        def much(mail, options, more):
            """Wants more."""


def test_a_function_without_decorator_is_refused():
    with pytest.raises(PluginError, match="a stage is a class derived from"):
        Registry().add_stage(lambda mail: mail)
