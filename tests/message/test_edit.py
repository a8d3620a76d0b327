"""An edit changes its own octets alone, and parsing the result gives the edited tree."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

import mailpipe
from mailpipe import Entity, Message, parse
from mailpipe.errors import ComposeError
from mailpipe.message import compose, edit

SIMPLE = b"From: a@example.org\r\nSubject: old\r\nX-Long: one\r\n two\r\nsubject: second\r\n\r\nbody\r\n"
MIXED = b"""From: a@example.org
Content-Type: multipart/mixed; boundary=b

preamble
--b
Content-Type: text/plain

one
--b
Content-Type: multipart/alternative; boundary=c

--c

two
--c
Content-Type: text/html

three
--c--
--b
Content-Type: message/rfc822

Subject: inner
Content-Type: multipart/mixed; boundary=d

--d

four
--d--
--b--
epilogue
"""


def shape(entity: Entity) -> list[tuple[str, str, bytes]]:
    return [(path, one.content_type.value, b"" if one.parts else one.raw_body) for path, one in entity.walk()]


def agrees(message: Message) -> bool:
    """Whether the edited tree is what a reader of its octets sees."""
    return shape(message) == shape(mailpipe.parse(bytes(message)))


def test_setting_a_field_changes_its_line_alone() -> None:
    message = mailpipe.parse(SIMPLE)
    changed = message.with_header(message.header.with_field("Subject", "new"))
    assert bytes(changed) == b"From: a@example.org\r\nSubject: new\r\nX-Long: one\r\n two\r\n\r\nbody\r\n"
    assert bytes(message) == SIMPLE
    assert changed.subject == "new"


def test_adding_and_removing_fields_keeps_the_others_in_place() -> None:
    header = mailpipe.parse(SIMPLE).header
    assert header.with_added("X-New", "v").keys() == ("From", "Subject", "X-Long", "subject", "X-New")
    assert header.with_added("Received", b"x", first=True).keys()[0] == "Received"
    assert header.without("SUBJECT").keys() == ("From", "X-Long")
    assert header.without_field(header.all("subject")[1]).keys() == ("From", "Subject", "X-Long")


def test_a_field_added_after_a_header_without_line_end_is_a_line_of_its_own() -> None:
    message = mailpipe.parse(b"Subject: x")
    assert bytes(message.with_header("To", "a@example.org")).splitlines() == [b"Subject: x", b"To: a@example.org"]


@pytest.mark.parametrize("value", ["a\r\nBcc: x@example.org", "a\nb", "a\0b", "a\rb"])
def test_a_value_that_would_smuggle_a_field_is_refused(value: str) -> None:
    with pytest.raises(ComposeError):
        mailpipe.parse(SIMPLE).header.with_field("X-Evil", value.encode())
    with pytest.raises(ComposeError):
        mailpipe.parse(SIMPLE).header.with_field("X-Evil", value)


def test_a_name_that_is_no_name_is_refused() -> None:
    for name in ("", "A B", "A:", "A\n", "ä"):
        with pytest.raises(ComposeError):
            mailpipe.parse(SIMPLE).header.with_field(name, "x")


def test_replacing_a_part_keeps_every_other_octet() -> None:
    message = mailpipe.parse(MIXED)
    new = compose.text("neu\n", "html", line_end=b"\n")
    changed = message.replace("2.2", new)
    assert bytes(changed) == MIXED.replace(b"Content-Type: text/html\n\nthree", bytes(new))
    assert agrees(changed)
    assert changed.part("1") is message.part("1")


def test_replacing_inside_an_enclosed_message_works() -> None:
    message = mailpipe.parse(MIXED)
    changed = message.replace("3.1", compose.text("neu", line_end=b"\n"))
    assert changed.part("3.1").text == "neu"
    assert agrees(changed)
    assert changed.part("3.TEXT").header["subject"] == "inner"


def test_replacing_the_only_body_keeps_the_message_fields() -> None:
    changed = mailpipe.parse(SIMPLE).replace("1", compose.text("héllo"))
    assert changed.subject == "old"
    assert changed.text == "héllo"
    assert changed.content_type.charset == "utf-8"
    assert "mime-version" in changed.header


@pytest.mark.parametrize("path", ["1", "2", "2.1", "2.2", "3", "3.1"])
def test_removing_a_part_leaves_the_others(path: str) -> None:
    message = mailpipe.parse(MIXED)
    changed = message.remove(path)
    assert agrees(changed)
    gone = message.part(path).raw_body
    assert not gone or path == "2" or path == "3" or gone not in bytes(changed)
    assert changed.preamble == b"preamble"
    assert changed.epilogue == b"epilogue\n"


@pytest.mark.parametrize("path", ["9", "1.1", "2.9", "x", "3.2", ""])
def test_a_path_to_nothing_is_a_key_error(path: str) -> None:
    message = mailpipe.parse(MIXED)
    with pytest.raises(KeyError):
        message.remove(path)
    if path:
        with pytest.raises(KeyError):
            message.replace(path, compose.text("x"))
        with pytest.raises(KeyError):
            message.part(path)


def test_attaching_to_a_plain_message_makes_it_mixed() -> None:
    message = mailpipe.parse(SIMPLE)
    changed = message.attach(compose.attachment(b"\0\1\2", "image/png", filename="a.png"))
    assert [(p, e.content_type.value) for p, e in changed.walk()] == [("", "multipart/mixed"), ("1", "text/plain"), ("2", "image/png")]
    assert changed.part("1").raw_body == b"body\r\n"
    assert changed.part("2").octets == b"\0\1\2"
    assert changed.part("2").filename == "a.png"
    assert [part.filename for part in changed.attachments] == ["a.png"]
    assert agrees(changed)


def test_attaching_to_a_mixed_message_adds_a_part_before_the_end() -> None:
    message = mailpipe.parse(MIXED)
    changed = message.attach(compose.attachment(b"x", filename="x.bin", line_end=b"\n"), compose.text("y", line_end=b"\n"))
    assert len(changed.parts) == 5
    assert agrees(changed)
    assert bytes(changed).startswith(MIXED[: MIXED.index(b"--b--")])


def test_content_that_holds_the_boundary_gets_the_multipart_a_new_one() -> None:
    message = mailpipe.parse(MIXED)
    changed = message.replace("1", compose.text("x\n--b\ny\n--b--\nz\n", line_end=b"\n"))
    assert changed.part("1").text == "x\n--b\ny\n--b--\nz\n"
    assert changed.content_type.boundary != "b"
    assert changed.preamble == b"preamble"
    assert changed.epilogue == b"epilogue\n"
    assert agrees(changed)


def test_mapping_leaves_to_themselves_gives_the_same_message() -> None:
    message = mailpipe.parse(MIXED)
    assert message.map_leaves(lambda path, leaf: leaf) is message


def test_mapping_leaves_changes_those_that_changed() -> None:
    message = mailpipe.parse(MIXED)
    changed = message.map_leaves(lambda path, leaf: compose.text(path, line_end=b"\n") if path.endswith(".1") else leaf)
    assert [changed.part(path).text for path in ("2.1", "3.1")] == ["2.1", "3.1"]
    assert changed.part("1") is message.part("1")
    assert agrees(changed)


def test_an_edit_of_an_edit_works() -> None:
    message = mailpipe.parse(MIXED)
    changed = message.with_header("Subject", "s").replace("1", compose.text("a", line_end=b"\n")).remove("2")
    changed = changed.attach(compose.text("b", line_end=b"\n")).with_header("X-Y", "z").replace("2.1", compose.text("c", line_end=b"\n"))
    assert [part.content_type.value for part in changed.parts] == ["text/plain", "message/rfc822", "text/plain"]
    assert [changed.part(path).text for path in ("1", "2.1", "3")] == ["a", "c", "b"]
    assert agrees(changed)


def test_a_changed_content_type_changes_the_parts() -> None:
    message = mailpipe.parse(MIXED)
    assert message.with_header("Content-Type", b"text/plain").parts == ()
    assert len(message.with_header("Content-Type", b"multipart/mixed; boundary=c").parts) == 2


def test_an_enclosed_message_under_base64_is_encoded_again() -> None:
    message = mailpipe.parse(b"Content-Type: message/rfc822\nContent-Transfer-Encoding: base64\n\nU3ViamVjdDogaW5uZXIKCmhlbGxvCg==\n")
    changed = message.replace("1", compose.text("neu\n", line_end=b"\n"))
    assert changed.transfer_encoding == "base64"
    again = mailpipe.parse(bytes(changed)).parts[0]
    assert again.text == "neu\n"
    assert again.header["subject"] == "inner"


def test_a_composed_message_reads_back() -> None:
    message = compose.message(
        from_="Änne <a@example.org>", to="Bob <b@example.org>, c@example.org", subject="Grüße aus Köln " * 8, text="Hallo\nWelt\n",
        html="<p>Hällo</p>", attachments=[compose.attachment(b"%PDF", "application/pdf", filename="naïve €.pdf")], message_id="1@example.org",
    )  # fmt: skip
    again = mailpipe.parse(bytes(message))
    assert agrees(message)
    assert again.from_[0].display_name == "Änne"
    assert [one.address for one in again.to] == ["b@example.org", "c@example.org"]
    assert again.subject == "Grüße aus Köln " * 8
    assert again.body_text == "Hallo\r\nWelt\r\n"
    assert again.body_html == "<p>Hällo</p>"
    assert [part.filename for part in again.attachments] == ["naïve €.pdf"]
    assert again.message_id == "1@example.org"
    assert bytes(message).isascii()
    assert max(map(len, bytes(message).split(b"\r\n"))) <= 81  # a Content-Type behind an encoded word
    assert not [defect for defect in again.defects if defect.code != "missing-field"]


TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=60)


@given(st.lists(TEXT, min_size=1, max_size=4), st.sampled_from([b"\n", b"\r\n"]), st.integers(0, 3))
def test_any_texts_survive_composing_and_replacing(texts: list[str], line_end: bytes, index: int) -> None:
    parts = [compose.text(text, line_end=line_end) for text in texts]
    made = compose.multipart("mixed", parts, line_end=line_end, kind=Message)
    assert isinstance(made, Message)
    path = str(index % len(texts) + 1)
    changed = made.replace(path, compose.text("--" + (made.content_type.boundary or ""), line_end=line_end))
    assert agrees(made)
    assert agrees(changed)
    for text, part in zip(texts, mailpipe.parse(bytes(made)).parts, strict=True):
        assert part.text.splitlines() == text.replace("\r\n", "\n").replace("\r", "\n").splitlines()


@given(TEXT.filter(lambda text: "\n" not in text and "\r" not in text))
def test_any_subject_survives(text: str) -> None:
    changed = mailpipe.parse(SIMPLE).with_header("Subject", text)
    again = mailpipe.parse(bytes(changed))
    assert again.subject is not None
    assert again.subject.split() == text.split()
    assert again.raw_body == b"body\r\n"
    assert [field.name for field in again.header] == ["From", "Subject", "X-Long"]


@pytest.mark.parametrize(
    ("octets", "path"),
    [
        # the enclosing part has no empty line, and so no body to put a message in
        (b"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Type: message/rfc822\r\nX: 1\r\n", "1.1"),
        # the enclosed header breaks off in the middle of a line
        (b"Content-Type: message/rfc822\r\n\r\nContent-Type: text/plain\r\nSubject: brok", "1"),
        (b"Content-Type: message/rfc822\r\n\r\nContent-Type: text/plain\r\nSubject: brok\r\r", "1"),
    ],
)
def test_what_takes_a_body_s_place_gets_the_empty_line_that_was_missing(octets, path):
    changed = mailpipe.parse(octets).replace(path, compose.text("changed", line_end=b"\n"))
    assert changed.part(path).text == "changed"
    assert mailpipe.parse(bytes(changed)).part(path).text == "changed"


def test_content_behind_a_header_that_breaks_off_is_no_part_of_the_header():
    leaf = mailpipe.parse(b"X-Note: brok").with_octets(b"new\n", "7bit", is_text=True)
    assert bytes(leaf) == b"X-Note: brok\r\n\r\nnew\n"


@pytest.mark.parametrize("line_end", [b"\n", b"\r\n"])
def test_an_enclosed_message_without_octets_lies_inside_what_encloses_it(line_end):
    # the empty line is the line end that belongs to the delimiter (RFC 2046 section 5.1.1)
    lines = (b"Content-Type: multipart/mixed; boundary=b", b"", b"--b", b"Content-Type: message/rfc822", b"", b"--b--", b"")
    enclosing, enclosed = [mailpipe.parse(line_end.join(lines)).part(path) for path in ("1", "1.1")]
    assert enclosing.span[0] <= enclosed.span[0] <= enclosed.span[1] <= enclosing.span[1]


@pytest.mark.parametrize("name", ["Subject", "X-Note"])
def test_a_word_longer_than_a_line_may_be_is_said_in_encoded_words(name):
    message = mailpipe.parse(b"Subject: x\r\n\r\nHi\r\n")
    text = "[list] " + "x" * 3000 + " end"
    made = mailpipe.parse(bytes(message.with_header(name, text)))
    assert made.header[name] == text
    assert max(map(len, bytes(made.header).splitlines())) <= 78


@pytest.mark.parametrize("octets", [b"From ", b"From ann Mon Nov 23", b">From x", b"From ann\n", b"From ann\r\n"])
@pytest.mark.parametrize("first", [True, False])
def test_a_field_behind_a_line_of_an_mbox_that_breaks_off_is_a_field(octets, first):
    message = parse(octets)
    changed = bytes(message.with_header(message.header.with_added("X-A", "v", first=first)))
    assert changed.startswith(octets.rstrip(b"\r\n"))
    assert parse(changed).header["X-A"] == "v"
    assert parse(bytes(message.with_header("X-A", "v"))).header["X-A"] == "v"


EMPTY = b"Content-Type: multipart/mixed; boundary=b\r\n\r\npre\r\n--b\r\n--b\r\n\r\nsecond\r\n--b\r\n--b--\r\npost"


@pytest.mark.parametrize("line_end", [b"\n", b"\r\n"])
def test_a_part_without_any_octets_can_be_replaced(line_end: bytes) -> None:
    message = parse(EMPTY.replace(b"\r\n", line_end))
    assert [bytes(part) for part in message.parts] == [b"", line_end + b"second", b""]
    for path in ("1", "3"):
        after = parse(bytes(message.replace(path, compose.text("new", line_end=line_end))))
        assert [part.text for part in after.parts] == ["new" if number == path else old for number, old in zip("123", ["", "second", ""], strict=True)]


@pytest.mark.parametrize("line_end", [b"\n", b"\r\n"])
def test_a_part_without_any_octets_can_be_removed(line_end: bytes) -> None:
    message = parse(EMPTY.replace(b"\r\n", line_end))
    assert [part.text for part in parse(bytes(message.remove("1"))).parts] == ["second", ""]
    assert [part.text for part in parse(bytes(edit.remove_all(message, {"1", "3"}))).parts] == ["second"]
    assert [part.text for part in parse(bytes(edit.remove_all(message, {"1", "2"}))).parts] == [""]


def test_a_part_of_a_digest_stays_a_message_when_something_in_it_changes() -> None:
    octets = b"Content-Type: multipart/digest; boundary=b\n\n--b\n\nSubject: one\n\nfirst\n--b\n\nSubject: two\n\nsecond\n--b--\n"
    changed = edit.map_leaves(parse(octets), lambda path, leaf: leaf.with_header("Subject", "new") if path == "1.1" else leaf)
    assert [part.content_type.value for part in changed.parts] == ["message/rfc822"] * 2
    assert [path for path, _ in changed.walk()] == [path for path, _ in parse(bytes(changed)).walk()]
    assert changed.parts[0].parts[0].subject == "new"


@pytest.mark.parametrize("blank", [b" ", b"\t"])
def test_a_field_on_top_takes_nothing_of_a_first_line_that_begins_with_a_blank(blank):
    octets = blank + b"; dkim=pass header.d=bank.example\r\nSubject: x\r\n\r\nHi\r\n"
    message = mailpipe.parse(octets)
    body = b"mx.example.net; none"
    added = message.with_header(message.header.with_added("Authentication-Results", body, first=True))
    field = mailpipe.Field.compose("Authentication-Results", body)
    replaced = message.with_header(message.header.with_fields([field, *message.header.lines]))
    for made in (added, replaced):
        assert mailpipe.parse(bytes(made)).header.first("Authentication-Results").body == body
        assert bytes(made).startswith(blank + b"; dkim=pass")
        assert made.header.items() == mailpipe.parse(bytes(made)).header.items()
