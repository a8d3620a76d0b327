"""The fixtures, in test runs of their own, as a project that has mailpipe installed meets them."""

import json
import subprocess
import sys

import pytest

TAG = """
import mailpipe


class TagOptions(mailpipe.Options):
    '''How.'''

    word: str = "list"
    '''The word.'''


@mailpipe.stage(touches=mailpipe.Access(fields=("Subject",)))
def tag_subject(mail: mailpipe.Mail, options: TagOptions) -> mailpipe.Mail:
    '''Puts a word before the subject.'''
    header = mail.message.header.with_field("Subject", f"[{options.word}] {mail.message.subject or ''}")
    return mail.with_message(mail.message.with_header(header))
"""


@pytest.fixture
def run(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch):
    """Run a file of tests in this process; the fixtures come by the entry point."""
    monkeypatch.delenv("PYTEST_ADDOPTS", raising=False)

    def run(text, *arguments):
        pytester.makepyfile(text)
        return pytester.runpytest_inprocess("-q", "-p", "no:cacheprovider", "-p", "mailpipe.testing.fixtures", *arguments)

    return run


def test_every_fixture_does_what_its_name_says(run, pytester):
    pytester.makepyfile(tagging=TAG)
    run(
        """
        from tagging import tag_subject

        def test_message(build_message, make_mail):
            first, second = build_message(), build_message(text="Hi", html="<p>Hi</p>", attachments=[("a.pdf", b"%PDF-")])
            assert first.message_id != second.message_id and first.date.year == 2026
            assert [part.filename for part in second.attachments] == ["a.pdf"] and not second.defects
            assert build_message(raw="Subject: x").subject == "x"
            mail = make_mail(second, sender="x@example.org")
            assert (mail.envelope.reverse_path, mail.envelope.addresses) == ("x@example.org", ("bruno@example.net",))

        def test_stage(build_message, run_stage, golden):
            result = run_stage(tag_subject, build_message(subject="Tides"), word="sea")
            assert result.mail.message.subject == "[sea] Tides"
            assert result.changes.fields_changed == ("Subject",) and str(result.changes) == "Subject changed"
            result.assert_only_touched_what_it_declared()

        def test_pipeline(run_pipeline, build_message):
            result = run_pipeline(
                '[[stage]]\\nuse = "tag-subject"', build_message(), build_message(subject=None), plugins=[tag_subject]
            )
            result.assert_endings("delivered")
            assert [message.subject for message in result.messages] == ["[list] The tide tables for March", "[list]"]

        def test_clock(virtual_clock, run_stage):
            virtual_clock.sleep(3600)
            assert run_stage.clock is virtual_clock and virtual_clock.now().hour == 10
        """
    ).assert_outcomes(passed=4)


PEER = """
import smtplib

def deliver(peer, line_end=b"\\r\\n"):
    with smtplib.SMTP(peer.host, peer.port) as client:
        client.sock.sendall(b"NOOP" + line_end)
        client.getreply()
        return client.sendmail("a@x.test", ["b@x.test"], b"Subject: one\\r\\n\\r\\n")

def test_good(smtp_server, scripted_peer):
    first, second = smtp_server(), scripted_peer(extensions=())
    assert deliver(first) == deliver(second) == {}
    assert len(first.taken) == len(second.taken) == 1

def test_bad(smtp_server):
    deliver(smtp_server(), b"\\n")

def test_known(smtp_server):
    peer = smtp_server()
    deliver(peer, b"\\n")
    assert peer.violations
    peer.violations.clear()
"""


def test_the_server_fails_a_test_whose_client_misbehaves(run):
    result = run(PEER)
    result.assert_outcomes(passed=3, errors=1)
    result.stdout.fnmatch_lines(["*bare LF behind b'NOOP\\n'*"])


GOLDEN = """
def test_octets(golden, build_message):
    golden(build_message(), "mails/plain.eml")

def test_text(golden):
    golden({TEXT!r})

def test_json(golden):
    golden({"b": [1, {2}], "a": b"x"})
    golden("second", "named.txt")
"""


def test_a_golden_file_is_asked_for_written_and_compared(run, pytester):
    text = GOLDEN.replace("{TEXT!r}", repr("one\ntwo\n"))
    missing = run(text)
    missing.assert_outcomes(failed=3)
    missing.stdout.fnmatch_lines(["*there is no such file yet; run pytest --update-golden*"])
    run(text, "--update-golden").assert_outcomes(passed=3)
    folder = pytester.path / "golden"
    names = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.*"))
    stem = next(pytester.path.glob("test_*.py")).stem
    assert names == ["mails/plain.eml", "named.txt", f"{stem}-test_json.json", f"{stem}-test_text.txt"]
    assert json.loads((folder / names[2]).read_text()) == {"a": "x", "b": [1, [2]]}
    assert (folder / "mails/plain.eml").read_bytes().startswith(b"Date: ")
    run(text).assert_outcomes(passed=3)


def test_a_difference_is_shown_line_by_line_and_ends_of_lines_where_nothing_else_is_different(run):
    before, after = GOLDEN.replace("{TEXT!r}", repr("one\ntwo\n")), GOLDEN.replace("{TEXT!r}", repr("one\nthree\n"))
    run(before, "--update-golden")
    result = run(after)
    result.assert_outcomes(passed=2, failed=1)
    result.stdout.fnmatch_lines(["*-two", "*+three", "*--update-golden takes it over*"])
    result = run(GOLDEN.replace("{TEXT!r}", repr("one\r\ntwo\n")))
    result.stdout.fnmatch_lines(["*-one\\n", "*+one\\r\\n"])


def test_a_golden_file_does_not_leave_its_folder(run):
    run('def test_it(golden):\n    golden("x", "../test_it.py")\n', "--update-golden").assert_outcomes(failed=1)


def test_the_words_of_an_assertion_name_stage_and_remedy(run, pytester):
    pytester.makepyfile(tagging=TAG.replace('("Subject",)', '("X-Tag",)'))
    result = run(
        """
        from tagging import tag_subject

        def test_touched(run_stage):
            run_stage(tag_subject).assert_only_touched_what_it_declared()

        def test_unchanged(run_stage):
            run_stage(tag_subject).assert_unchanged()

        def test_verdict(run_stage):
            run_stage(tag_subject).assert_verdict("reject")
        """
    )
    result.assert_outcomes(failed=3)
    result.stdout.fnmatch_lines([
        "*tag-subject touched the field Subject, and declares that it touches X-Tag; add it to `touches`*",
        "*tag-subject should have changed nothing: Subject changed*",
        "*tag-subject passed the mail on and should have said reject*",
    ])


def test_a_conftest_that_asks_for_the_fixtures_does_not_load_them_twice(pytester, monkeypatch):
    monkeypatch.delenv("PYTEST_ADDOPTS", raising=False)
    pytester.makeconftest('pytest_plugins = ["mailpipe.testing.fixtures"]')
    pytester.makepyfile("def test_it(build_message):\n    assert build_message().subject")
    pytester.runpytest_subprocess("-q", "-p", "no:cacheprovider").assert_outcomes(passed=1)


def test_a_project_that_tests_something_else_pays_for_nothing():
    code = "import sys, pytest, mailpipe.testing.fixtures; print(*sorted(n for n in sys.modules if n.startswith(('mailpipe', 'pydantic'))))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["mailpipe", "mailpipe.testing", "mailpipe.testing.fixtures"]


def test_nothing_but_the_fixtures_needs_pytest():
    code = """
import sys
import mailpipe, mailpipe.testing
for name in mailpipe.testing.__all__:
    getattr(mailpipe.testing, name)
print("pytest" in sys.modules, set(mailpipe.testing.__all__) <= set(dir(mailpipe.testing)))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "True"]
