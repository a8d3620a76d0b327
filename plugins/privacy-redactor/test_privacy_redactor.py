"""Nobody is found any more, and everything else still holds together."""

import time

import pytest
from privacy_redactor import PrivacyRedactor, Pseudonyms, RedactionReport

from mailpipe import Message, parse
from mailpipe.errors import MailpipeError, SecretMissing
from mailpipe.fields import ContentType
from mailpipe.message import compose
from mailpipe.testing import (
    MailMaker,
    MessageBuilder,
    OpenStage,
    PipelineRunner,
    StageContract,
    StageRunner,
    ordinary_messages,
)

KEY = "a key for the tests that is long enough"
SECRETS = {"redaction-key": KEY}


class TestContract(StageContract):
    """What a pipeline takes for granted of every stage."""

    stage = PrivacyRedactor
    secrets = SECRETS


class TestContractKeeping(StageContract):
    """With everything kept that can be."""

    stage = PrivacyRedactor
    secrets = SECRETS
    options = {"attachments": "keep", "envelope": False, "keep_domains": ["example.org"], "remove_fields": []}


@pytest.fixture
def redactor(run_stage: StageRunner) -> OpenStage:
    """One that is open."""
    run_stage.secrets.update(SECRETS)
    return run_stage.open(PrivacyRedactor)


def report_of(notes: tuple[object, ...]) -> RedactionReport:
    (report,) = (note for note in notes if isinstance(note, RedactionReport))
    return report


def test_addresses_and_names_become_pseudonyms_in_header_text_and_envelope(
    redactor: OpenStage, build_message: MessageBuilder, make_mail: MailMaker
) -> None:
    text = "Hi Bruno,\n\nask Ann Lindqvist (ann@example.org) or Åsa. Ann's number is secret.\n"
    message = build_message(
        subject="For Bruno Marsh from ann@example.org", text=text, cc="Åsa Öberg <asa@example.com>, Team: d@example.com;",
        html="<p title='Marsh'>Hi <b>Bruno</b>, <a href='mailto:ann@example.org'>Ann</a></p>",
    )  # fmt: skip
    result = redactor.run(make_mail(message))
    made = result.mail.message
    octets = bytes(made).decode()
    for word in ("ann@", "Ann", "Lindqvist", "Bruno", "Marsh ", "bruno@", "sa@", "d@example"):
        assert word not in octets, word
    person = made.from_.mailboxes[0]
    assert person.display_name in (made.body_text or "") and person.address in (made.body_text or "")
    assert f"mailto:{person.address}" in (made.body_html or "") and "title='Marsh'" in (made.body_html or "")
    assert made.to.mailboxes[0].display_name in (made.subject or "")
    assert result.mail.envelope.reverse_path == person.address
    assert result.mail.envelope.addresses[0] == made.to.mailboxes[0].address
    assert (made.cc.members[1].display_name, len(made.cc.mailboxes)) == ("Group", 2)
    report = report_of(result.notes)
    assert (report.addresses, report.names) == (4, 3)


def test_the_same_person_has_the_same_pseudonym_in_the_whole_archive(
    redactor: OpenStage, run_stage: StageRunner, build_message: MessageBuilder
) -> None:
    one = redactor.run(build_message(from_="Ann <ann@example.org>")).mail.message
    other = redactor.run(build_message(from_="x@example.org", to="ANN <Ann@EXAMPLE.org>")).mail.message
    assert one.from_.mailboxes[0] == other.to.mailboxes[0]
    assert one.from_.mailboxes[0].domain == other.from_.mailboxes[0].domain
    run_stage.secrets["redaction-key"] = "another key that is long enough"
    assert run_stage(PrivacyRedactor, build_message(from_="Ann <ann@example.org>")).mail.message.from_ != one.from_


def test_threads_hold_together(redactor: OpenStage, build_message: MessageBuilder) -> None:
    first = redactor.run(build_message(message_id="1@ann.example.org")).mail.message
    headers = {"In-Reply-To": "<1@ann.example.org>", "References": "<0@x.example> <1@ann.example.org>"}
    second = redactor.run(build_message(headers=headers)).mail.message
    assert second.in_reply_to == (first.message_id,) and second.references[1] == first.message_id
    assert b"ann.example.org" not in bytes(first) + bytes(second)


def test_one_s_own_domain_is_kept_on_request(run_stage: StageRunner, build_message: MessageBuilder) -> None:
    run_stage.secrets.update(SECRETS)
    made = run_stage(PrivacyRedactor, build_message(), keep_domains=["Example.ORG"]).mail.message
    assert made.from_.mailboxes[0].domain == "example.org" and made.from_.mailboxes[0].local_part.startswith("u-")
    assert made.to.mailboxes[0].domain.endswith(".redacted.invalid")


def test_what_is_a_pseudonym_already_stays(redactor: OpenStage, make_mail: MailMaker, build_message: MessageBuilder) -> None:
    once = redactor.run(build_message(from_="ann@example.org", to="b@example.net")).mail
    again = redactor.run(once).mail
    assert bytes(again.message) == bytes(once.message) and again.envelope == once.envelope


def test_attachments_give_way_to_notes_without_their_names(redactor: OpenStage, build_message: MessageBuilder) -> None:
    message = build_message(attachments=[("Ann Lindqvist.pdf", b"%PDF-ann@example.org")])
    result = redactor.run(message)
    parts = [part.content_type.value for _, part in result.mail.message.walk()]
    assert parts == ["multipart/mixed", "text/plain", "text/plain"]
    assert "An attachment was removed (application/pdf, 20 octets)." in result.mail.message.part("2").text
    assert report_of(result.notes).parts_removed == 1 and b"Lindqvist" not in bytes(result.mail.message)


def test_attachments_stay_on_request_and_are_counted(run_stage: StageRunner, build_message: MessageBuilder) -> None:
    run_stage.secrets.update(SECRETS)
    result = run_stage(PrivacyRedactor, build_message(attachments=[("a.pdf", b"%PDF-")]), attachments="keep")
    assert result.mail.message.part("2").octets == b"%PDF-" and report_of(result.notes).parts_unread == 1


def test_a_message_in_a_message_is_redacted_too(redactor: OpenStage, build_message: MessageBuilder) -> None:
    inner = build_message(from_="Carla <carla@example.com>", text="Carla was here: carla@example.com\n")
    made = redactor.run(build_message(attachments=[compose.enclosed(inner)])).mail.message
    assert b"carla" not in bytes(made).lower()
    assert isinstance(made.part("2").parts[0], Message)


def test_a_message_that_is_nothing_but_an_attachment_keeps_its_redacted_header(redactor: OpenStage) -> None:
    octets = b"From: Ann <ann@example.org>\r\nSubject: x\r\nContent-Type: application/pdf\r\n\r\n%PDF-ann\r\n"
    made = redactor.run(octets).mail.message
    assert b"ann" not in bytes(made).lower() and made.subject == "x" and "removed" in (made.body_text or "")


@pytest.mark.parametrize("charset", ["utf-8", "iso-8859-1", "utf-16", "no-such-charset"])
@pytest.mark.parametrize("encoding", ["8bit", "base64", "quoted-printable"])
def test_text_keeps_its_words_in_every_charset_and_encoding(redactor: OpenStage, charset: str, encoding: str) -> None:
    text = "Grüße von ann@example.org aus Köln\r\n"
    octets = text.encode("latin-1" if charset.startswith("no") else charset)
    kind = ContentType.of("text/plain").with_param("charset", charset)
    leaf = compose.leaf(octets, kind, encoding="base64" if charset == "utf-16" else encoding)
    made = redactor.run(b"From: ann@example.org\r\n" + bytes(leaf)).mail.message
    assert made.body_text == text.replace("ann@example.org", made.from_.mailboxes[0].address)


def test_fields_that_tell_of_machines_go_and_a_from_line_too(redactor: OpenStage) -> None:
    octets = b"From ann@example.org Thu Mar  5 09:30:00 2026\r\n" + ordinary_messages()["received"]
    result = redactor.run(octets)
    made = result.mail.message
    assert not {"received", "return-path", "dkim-signature"} & {name.lower() for name in made.header.keys()}
    assert made.header.envelope_line is None and report_of(result.notes).fields_removed == 3
    assert b"example.org" not in bytes(made) and b"192.0.2.7" not in bytes(made)


def test_pictures_of_an_html_text_are_still_found(run_stage: StageRunner, build_message: MessageBuilder) -> None:
    run_stage.secrets.update(SECRETS)
    html = "<img src='cid:logo@example.org'> write to logo@example.org, or logo%40example.org"
    made = run_stage(PrivacyRedactor, build_message(html=html), attachments="keep").mail.message
    assert "cid:logo@example.org" in made.body_html and made.body_html.count("example.org") == 1


def test_the_octets_of_what_names_nobody_stay(redactor: OpenStage, build_message: MessageBuilder) -> None:
    message = build_message(from_="ann@example.org", to="b@example.net", headers={"X-Folded": "one  two\t three"})
    result = redactor.run(message)
    assert set(result.changes.fields) == {"From", "To", "Message-ID"} and not result.changes.body


def test_without_a_good_key_nothing_flows(run_stage: StageRunner) -> None:
    with pytest.raises(SecretMissing, match="MAILPIPE_SECRET_REDACTION_KEY"):
        run_stage.open(PrivacyRedactor)
    run_stage.secrets["redaction-key"] = "short"
    with pytest.raises(MailpipeError, match="at least 16"):
        run_stage.open(PrivacyRedactor)


@pytest.mark.parametrize("text", ["a" * 200_000, "a@" * 50_000, "a%40" * 30_000, "a." * 50_000, "x@" + "y." * 50_000, "Ann " * 30_000, "<" * 100_000])
def test_time_is_linear_in_the_text(text: str, redactor: OpenStage, build_message: MessageBuilder) -> None:
    for message in (build_message(text=text), build_message(html=text)):
        begun = time.process_time()
        redactor.run(message)
        assert time.process_time() - begun < 5


def test_pseudonyms_say_nothing_and_differ() -> None:
    of = Pseudonyms(KEY.encode())
    made = {of.address(f"user{number}@example.org") for number in range(1000)}
    assert len(made) == 1000 and len({each.partition("@")[2] for each in made}) == 1
    assert of.address("") == "" and of.name("Ann  lindqvist") == of.name("ann Lindqvist")


def test_it_runs_in_a_pipeline(run_pipeline: PipelineRunner, build_message: MessageBuilder) -> None:
    text = '[[stage]]\nuse = "privacy-redactor"\n'
    result = run_pipeline(text, build_message(), plugins=[PrivacyRedactor], secrets=SECRETS)
    result.assert_endings("delivered")
    assert b"ann@example.org" not in bytes(parse(bytes(result.messages[0])))
