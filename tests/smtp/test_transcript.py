"""The transcript: what is shown, what is not, and that no cutting into packets changes it."""

import base64
import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mailpipe.smtp.sasl import NAMES, TOKEN_NAMES, Credentials, choose
from mailpipe.smtp.transcript import MAX_SHOWN, Transcript
from mailpipe.testing.sasl import exchange

CONTENT = b"Subject: a letter\r\n\r\n" + b"..dots\r\n" * 510 + b"\r\n"

SESSION = [
    ("<", b"220-mx.test\r\n220 ready\r\n"),
    (">", b"EHLO client.test\r\n"),
    ("<", b"250-mx.test\r\n250-PIPELINING\r\n250 AUTH PLAIN\r\n"),
    (">", b"AUTH PLAIN AGFubgBodW50ZXIy\r\n"),
    ("<", b"235 welcome\r\n"),
    (">", b"MAIL FROM:<ann@example.org>\r\nRCPT TO:<bob@example.net>\r\nDATA\r\n"),
    ("<", b"250 ok\r\n250 ok\r\n354 go ahead\r\n"),
    (">", CONTENT + b".\r\n"),
    ("<", b"250 2.0.0 kept\r\n"),
    (">", b"MAIL FROM:<>\r\nRCPT TO:<bob@example.net>\r\nBDAT 12 LAST\r\n.\r\nAUTH \r\n\r\nQUIT\r\n"),
    ("<", b"250 ok\r\n250 ok\r\n250 kept\r\n221 bye\r\n"),
]

WRITTEN = """\
< 220-mx.test
< 220 ready
> EHLO client.test
< 250-mx.test
< 250-PIPELINING
< 250 AUTH PLAIN
> AUTH PLAIN ***
< 235 welcome
> MAIL FROM:<ann@example.org>
> RCPT TO:<bob@example.net>
> DATA
< 250 ok
< 250 ok
< 354 go ahead
> … 4,103 octets
> .
< 250 2.0.0 kept
> MAIL FROM:<>
> RCPT TO:<bob@example.net>
> BDAT 12 LAST
> … 12 octets
> QUIT
< 250 ok
< 250 ok
< 250 kept
< 221 bye
"""


def transcribe(session, **options):
    """What is written down about a session of (direction, octets)."""
    lines = []
    transcript = Transcript(lines.append, **options)
    for arrow, octets in session:
        (transcript.sent if arrow == ">" else transcript.received)(octets)
    transcript.closed()
    return "".join(lines).removesuffix("* closed\n")


def test_a_session_is_written_down_line_by_line():
    assert len(CONTENT) == 4103
    assert transcribe(SESSION) == WRITTEN


@settings(max_examples=40)
@given(st.data())
def test_packets_make_no_difference(data):
    pieces = []
    for arrow, octets in SESSION:
        cuts = sorted(data.draw(st.sets(st.integers(1, max(len(octets) - 1, 1)), max_size=12)))
        pieces += [(arrow, octets[start:end]) for start, end in itertools.pairwise([0, *cuts, len(octets)])]
    assert transcribe(pieces) == WRITTEN


def test_octet_by_octet():
    assert transcribe([(arrow, bytes([octet])) for arrow, octets in SESSION for octet in octets]) == WRITTEN


def test_without_mask_everything_is_shown_but_the_content():
    written = transcribe(SESSION, mask=False)
    assert "> AUTH PLAIN AGFubgBodW50ZXIy\n" in written and "… 4,103 octets" in written


@given(
    st.lists(st.sampled_from([b"\r\n", b".", b"..", b"\r", b"\n", b"x", b".\r", b"\r\n."]), max_size=12),
    st.integers(1, 4),
)
def test_the_content_ends_at_the_first_line_with_a_dot_however_it_is_cut(pieces, size):
    content = b"".join(pieces)
    octets = content if content.endswith(b"\r\n") or not content else content + b"\r\n"
    stream = octets + b".\r\nRSET\r\n"
    end = (b"\r\n" + stream).index(b"\r\n.\r\n")
    session = [("<", b"220 hi\r\n"), (">", b"DATA\r\n"), ("<", b"354 go\r\n")]
    session += [(">", stream[at : at + size]) for at in range(0, len(stream), size)]
    lines = transcribe(session).splitlines()
    assert lines[3:5] == [f"> … {end:,} octets", "> ."]
    assert lines[-1] == "> RSET"


USER, SECRET = "ann@example.org", "correct-horse-battery"


def exchanged(name, early, good):
    """The whole session of an authentication, as both sides would have it."""
    credentials = Credentials(USER, token=SECRET) if name in TOKEN_NAMES else Credentials(USER, SECRET)
    binding = ("tls-server-end-point", b"digest")
    mechanism = choose([name], credentials, encrypted=True, chance=lambda count: b"x" * count, binding=binding)
    initial = mechanism.initial if early else None
    said = b"" if initial is None else b" " + base64.b64encode(initial)
    session = [("<", b"220 hi\r\n"), (">", f"auth {name}".encode() + said + b"\r\n")]
    steps = exchange(name, initial, {USER: SECRET if good else "other"}, dict([binding]) if name.endswith("PLUS") else None)
    try:
        challenge = next(steps)
        while True:
            answer = base64.b64encode(mechanism.respond(challenge) or b"")
            session += [("<", b"334 " + base64.b64encode(challenge) + b"\r\n"), (">", answer + b"\r\n")]
            challenge = steps.send(base64.b64decode(answer))
    except StopIteration as done:
        session.append(("<", b"235 ok\r\n" if done.value else b"535 no\r\n"))
    return [*session, (">", b"NOOP\r\n"), ("<", b"250 ok\r\n"), (">", b"MAIL FROM:<a@x.test>\r\n")]


def told(session):
    """Every form in which the exchange itself could be read: the words on the wire and what they mean."""
    for _, octets in session[1:-4]:
        for word in octets.split()[1 if octets[:3] == b"334" else 2 if octets[:4] == b"auth" else 0 :]:
            if len(word) > 3:
                yield word.decode()
                yield base64.b64decode(word).decode("utf-8", "backslashreplace")
    yield SECRET


@pytest.mark.parametrize("good", [True, False])
@pytest.mark.parametrize("early", [True, False])
@pytest.mark.parametrize("name", [*NAMES, *TOKEN_NAMES])
def test_nothing_of_an_exchange_is_shown_whatever_the_mechanism(name, early, good):
    if name in ("LOGIN", "CRAM-MD5") and early:
        return  # they have no initial response
    session = exchanged(name, early, good)
    for cut in (10_000, 1, 7):
        pieces = [(arrow, octets[at : at + cut]) for arrow, octets in session for at in range(0, len(octets), cut)]
        written = transcribe(pieces)
        assert [secret for secret in told(session) if secret in written] == []
        assert f"> auth {name}" in written
        assert written.endswith("> NOOP\n< 250 ok\n> MAIL FROM:<a@x.test>\n")


def test_a_mechanism_that_nobody_knows_is_masked_as_well():
    written = transcribe([
        ("<", b"220 hi\r\n"), (">", b"AUTH X-UNHEARD-OF\r\n"), ("<", b"334 what\r\n"), (">", b"c2VjcmV0\r\n"),
        ("<", b"334 next\r\n"), (">", b"c2VjcmV0\r\n"), ("<", b"235 ok\r\n"), (">", b"NOOP\r\n"),
    ])  # fmt: skip
    assert written == (
        "< 220 hi\n> AUTH X-UNHEARD-OF\n< 334 ***\n> ***\n< 334 ***\n> ***\n< 235 ok\n> NOOP\n"
    )


@pytest.mark.parametrize(
    "line", [b"AUTH PLAIN  hunter2x", b"\tauth\tplain hunter2x", b"AUTH hunter2x!", b"Auth PLAIN y hunter2x"]
)
def test_odd_forms_of_auth_are_masked(line):
    written = transcribe([("<", b"220 hi\r\n"), (">", line + b"\r\n"), ("<", b"501 no: " + line.split()[-1] + b"\r\n")])
    assert "hunter2x" not in written and "***" in written


def test_a_peer_that_repeats_the_secret_does_not_bring_it_in():
    word = base64.b64encode(b"\0ann\0hunter2x").decode()
    written = transcribe([
        ("<", b"220 hi\r\n"), (">", f"AUTH PLAIN {word}\r\n".encode()),
        ("<", f"500 unknown command AUTH PLAIN {word} (ann, hunter2x)\r\n".encode()), (">", b"NOOP\r\n"),
        ("<", b"500 hunter2x again\r\n"),
    ])  # fmt: skip
    assert written.splitlines()[2:] == [
        "< 500 unknown command AUTH PLAIN *** (ann, ***)", "> NOOP", "< 500 *** again",
    ]  # fmt: skip


def test_a_peer_that_ends_the_exchange_in_the_breath_of_its_challenge_sees_nothing_shown():
    written = transcribe([
        ("<", b"220 hi\r\n"), (">", b"AUTH LOGIN\r\n"), ("<", b"334 VXNlcm5hbWU6\r\n334 UGFzc3dvcmQ6\r\n235 ok\r\n"),
        (">", b"YW5uYW5u\r\n"), (">", b"aHVudGVyMg==\r\n"), (">", b"NOOP\r\n"),
    ])  # fmt: skip
    assert "YW5u" not in written and "aHVu" not in written and written.endswith("> NOOP\n")


def test_what_broke_off_in_the_middle_of_a_secret_is_masked():
    for session in (
        [(">", b"AUTH PLAIN AGFubgBodW50ZXIy")],
        [(">", b"AUTH LOGIN\r\n"), ("<", b"334 VXNlcm5hbWU6\r\n"), (">", b"aHVudGVyMg==")],
    ):
        written = transcribe([("<", b"220 hi\r\n"), *session])
        assert "AGFu" not in written and "aHVu" not in written and written.endswith("> ***\n")
    assert transcribe([("<", b"220 hi"), (">", b"MAIL FR")]) == "> MAIL FR\n< 220 hi\n"


def test_content_that_broke_off_is_counted():
    session = [("<", b"220 hi\r\n"), (">", b"DATA\r\n"), ("<", b"354 go\r\n"), (">", b"Subject: x\r\n")]
    assert transcribe(session).endswith("> … 12 octets\n")
    assert transcribe([("<", b"220 hi\r\n"), (">", b"BDAT 100\r\nabc")]).endswith("> … 3 octets\n")


def test_a_354_that_nobody_asked_for_hides_nothing():
    assert transcribe([("<", b"354 go\r\n"), (">", b"MAIL FROM:<>\r\n")]).endswith("> MAIL FROM:<>\n")


def test_commands_behind_the_dot_are_shown():
    session = [("<", b"220 hi\r\n"), (">", b"DATA\r\n"), ("<", b"354 go\r\n"), (">", b"x\r\n.\r\nMAIL FROM:<>\r\nDATA\r\n"),
               ("<", b"250 kept\r\n250 ok\r\n354 go\r\n"), (">", b"y\r\n.\r\n")]  # fmt: skip
    assert transcribe(session).splitlines()[3:] == [
        "> … 3 octets", "> .", "> MAIL FROM:<>", "> DATA", "< 250 kept", "< 250 ok", "< 354 go", "> … 3 octets", "> .",
    ]  # fmt: skip


def test_no_line_of_a_peer_can_look_like_two_or_paint_the_terminal():
    written = transcribe([("<", b"220 \x1b[2J\x00\x9b\rx\xc2\x85\xe2\x80\xa8y\xe2\x80\xaez\xff\r\n")])
    assert written == "< 220 \\x1b[2J\\x00\\x9b\\x0dx\\x85\\u2028y\\u202ez\\xff\n"


def test_limit_a_long_line_is_cut_and_counted():
    written = transcribe([("<", b"250 " + b"x" * 1_000_000 + b"\r\n"), (">", b"NOOP\r\n")])
    assert len(written) < MAX_SHOWN + 100 and "… 998,005 octets more\n> NOOP\n" in written


def test_time_and_label_stand_in_front():
    times = iter([10.0, 10.25, 11.5])
    lines = []
    transcript = Transcript(lines.append, clock=lambda: next(times), label="7.1")
    transcript.connected("mx.test:25")
    transcript.received(b"220 hi\r\n")
    assert lines == ["7.1    0.250 * connected to mx.test:25\n", "7.1    1.500 < 220 hi\n"]


def test_a_transcript_that_cannot_be_written_stops_and_stops_nobody():
    def full(_line):
        raise OSError(28, "no space left on device")

    transcript = Transcript(full)
    transcript.connected("mx.test:25")
    transcript.sent(b"QUIT\r\n")
    assert transcript.is_broken


def test_the_next_connection_begins_anew():
    lines = []
    transcript = Transcript(lines.append)
    for _ in range(2):
        transcript.connected("mx.test:25")
        transcript.received(b"220 hi\r\n")
        transcript.sent(b"AUTH LOGIN\r\n")
        transcript.received(b"334 x\r\n")
    transcript.connected("mx.test:25")
    transcript.received(b"220 hi\r\n")
    transcript.sent(b"NOOP\r\n")
    assert lines[-1] == "> NOOP\n"
