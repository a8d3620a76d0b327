"""What a rule decides without a plugin."""

import pytest
from pydantic import ValidationError

from mailpipe.pipeline.mail import Changed
from mailpipe.pipeline.verdict import Decision
from mailpipe.stages.decide import Accept, Defer, Drop, Redirect, Reject, SetAside

LETTER = b"From: ann@example.org\r\nTo: bob@example.net\r\nSubject: tides\r\n\r\nHigh water at ten.\r\n"


@pytest.mark.parametrize(
    ("kind", "options", "decision", "code", "status"),
    [
        (Accept, {}, Decision.ACCEPT, 250, "2.0.0"),
        (Reject, {}, Decision.REJECT, 550, "5.7.1"),
        (Reject, {"status": "5.3.4", "code": 552, "reason": "too large"}, Decision.REJECT, 552, "5.3.4"),
        (Defer, {}, Decision.DEFER, 450, "4.7.1"),
        (Drop, {}, Decision.DROP, 250, "2.0.0"),
        (SetAside, {"reason": "look at it"}, Decision.QUARANTINE, 250, "2.0.0"),
    ],
)
def test_a_decision(stage, mail, kind, options, decision, code, status):
    verdict = stage(kind, **options).process(mail(LETTER))
    assert (verdict.decision, verdict.code, str(verdict.status)) == (decision, code, status)
    assert verdict.reason == options.get("reason", kind.Options().reason)
    assert kind.decides == (decision,)


@pytest.mark.parametrize(("kind", "options"), [(Reject, {"status": "4.7.1"}), (Reject, {"code": 450}), (Defer, {"code": 550})])
def test_a_class_that_does_not_fit_is_refused(stage, kind, options):
    with pytest.raises(ValidationError):
        stage(kind, **options)


def test_redirect_replaces_recipients_and_leaves_the_message(stage, mail):
    given = mail(LETTER)
    sent = stage(Redirect, to=["office@example.org", "desk@example.org", "office@example.org"]).process(given)
    assert sent.envelope.addresses == ("office@example.org", "desk@example.org")
    assert sent.envelope.reverse_path == "ann@example.org"
    assert sent.message is given.message
    (note,) = sent.notes_of(Changed)
    assert note.what == "goes from <ann@example.org> to <office@example.org>, <desk@example.org>"


def test_redirect_adds_recipients_once(stage, mail):
    one = stage(Redirect, to=["BOB@example.net", "desk@example.org"], mode="add")
    assert one.process(mail(LETTER)).envelope.addresses == ("bob@example.net", "desk@example.org")
    assert stage(Redirect, to=["bob@example.net"], mode="add").process(given := mail(LETTER)) is given


def test_redirect_gives_another_sender(stage, mail):
    sent = stage(Redirect, sender="").process(mail(LETTER))
    assert (sent.envelope.reverse_path, sent.envelope.addresses) == ("", ("bob@example.net",))


@pytest.mark.parametrize("options", [{}, {"to": ["nobody"]}, {"to": ["a@example.org\nRCPT TO:<x@example.org>"]}])
def test_what_is_no_redirection_is_refused(stage, options):
    with pytest.raises(ValidationError):
        stage(Redirect, **options)
