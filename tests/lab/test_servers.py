"""The client against real servers: what is sent arrives octet for octet, and every reply means what we think."""

import hashlib
import inspect
import itertools
import os
import re
import smtplib
import ssl
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from mailpipe import parse
from mailpipe.crew import Crew
from mailpipe.errors import TransientFailure
from mailpipe.net.endpoint import Endpoint, Timeouts
from mailpipe.net.sync import SmtpConnection
from mailpipe.smtp.client import ClientProtocol
from mailpipe.smtp.envelope import Envelope, ForwardPath, MailParameters
from mailpipe.smtp.opening import Opening, TlsMode
from mailpipe.smtp.sasl import Credentials
from mailpipe.smtp.state import Dialect
from mailpipe.testing.peer import ScriptedPeer

pytestmark = pytest.mark.lab

TOP = Path(__file__).resolve().parents[2]
MECHANISMS = ("PLAIN", "LOGIN", "CRAM-MD5", "SCRAM-SHA-256")
HOW_MANY = int(os.environ.get("MAILPIPE_LAB_MESSAGES", "500"))
TLS = """\
smtpd_tls_cert_file = {home}/tls/cert.pem
smtpd_tls_key_file = {home}/tls/key.pem
smtpd_tls_security_level = may
smtpd_sasl_type = dovecot
smtpd_sasl_path = inet:127.0.0.1:{auth_port}
broken_sasl_auth_clients = no
"""
numbers = itertools.count(1)


@pytest.fixture(scope="module")
def postfix(make_postfix, dovecot, authority, unused_ports):
    """A Postfix with certificate and passwords; `ports` leads to one that offers nothing, and to one per mechanism."""
    names = ("bare", *MECHANISMS)
    ports = dict(zip(names, unused_ports(len(names)), strict=True))
    bare = "pipelining,chunking,dsn,8bitmime,smtputf8,enhancedstatuscodes,size,starttls"
    services = f"127.0.0.1:{ports['bare']} inet n - n - - smtpd\n  -o smtpd_discard_ehlo_keywords={bare}\n"
    for name in MECHANISMS:
        services += f"127.0.0.1:{ports[name]} inet n - n - - smtpd\n"
        services += f"  -o smtpd_sasl_auth_enable=yes -o smtpd_sasl_mechanism_filter={name.lower()}\n"

    def prepare(home: Path) -> None:
        (home / "tls").mkdir()
        (home / "tls/cert.pem").write_bytes(authority.chain)
        (home / "tls/key.pem").write_bytes(authority.key)

    more = TLS.replace("{auth_port}", str(dovecot.auth_port)).replace(
        "{home}", f"/var/tmp/mailpipe-lab-{os.getpid()}-servers"
    )
    server = make_postfix("servers", prepare, more, services)
    server.name, server.ports = "postfix", ports
    server.copies = lambda: [path.read_bytes() for path in (server.home / "mail/all/new").glob("*")]
    return server


@pytest.fixture(params=["postfix", "exim", "opensmtpd", "dovecot"])
def server(request):
    """Each in its turn."""
    return request.getfixturevalue(request.param)


def connect(server, *, port=0, tls=TlsMode.NEVER, ca_file=None, credentials=None, window=1) -> SmtpConnection:
    dialect = Dialect.LMTP if server.name == "dovecot" else Dialect.SMTP
    plan = Opening("client.lab.test", dialect, tls, credentials)
    endpoint = Endpoint("127.0.0.1", port or server.port)
    return SmtpConnection(endpoint, plan, Timeouts.within(20), tls_ca_file=ca_file, window=window, chunking=window > 2)


def letter(body: bytes = b"", header: bytes = b"") -> bytes:
    """A message that is like no other, with everything that a transport could spoil."""
    odd = b".\r\n..\r\n.hidden\r\n\r\n" + b"x" * 990 + b"\r\n" + "Größe\r\n".encode() + b"\t \r\n.\r\n\r\n\r\n"
    return (
        b"X-Lab: %d\r\nFrom: ann@lab.test\r\nTo: bob@lab.test\r\nDate: Mon, 23 Nov 2026 10:00:00 +0000\r\n" % next(numbers)
        + b"Message-ID: <%s@lab.test>\r\n" % os.urandom(8).hex().encode() + header + b"MIME-Version: 1.0\r\n"
        + b"Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n" + (body or odd)
    )  # fmt: skip


def from_mark(octets: bytes) -> bytes:
    """The message from our first field on, with LF: what stands before it the server has written."""
    return octets[octets.index(b"X-Lab: ") :].replace(b"\r\n", b"\n")


def assert_arrived(server, octets: bytes, until, copies: int = 1) -> None:
    expected, found = from_mark(octets), []

    def are_there() -> bool:
        found[:] = [from_mark(copy) for copy in server.copies() if octets[: octets.index(b"\r\n")] + b"\n" in copy]
        return len(found) >= copies

    until(are_there, f"{server.name} delivers; its log says:\n{server.log[-2000:]}")
    assert found == [expected] * copies


def envelope(*addresses: str, **parameters) -> Envelope:
    paths = tuple(ForwardPath(address) for address in addresses or ("bob@lab.test",))
    return Envelope("ann@lab.test", paths, MailParameters(body="8BITMIME", **parameters))


def require_tls(server) -> None:
    """Skip the test where STARTTLS is offered and broken, as it is in the OpenSMTPD 6.8 of Debian 12 with OpenSSL 3."""
    if server.name != "opensmtpd":
        return
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    try:
        with smtplib.SMTP("127.0.0.1", server.port) as session:
            session.starttls(context=context)
            session.ehlo()
    except (OSError, smtplib.SMTPException) as error:
        pytest.skip(f"{server.name} offers STARTTLS and cannot do it: {error}")


def test_what_is_sent_arrives_octet_for_octet(server, until):
    octets = letter()
    with connect(server) as connection:
        result = connection.transaction(envelope(), octets)
    assert [answer.reply.code for answer in result.answers] == [250]
    assert_arrived(server, octets, until)


def test_one_connection_carries_many_messages(server, until):
    letters = [letter(b"short\r\n") for _ in range(8)]
    with connect(server) as connection:
        assert all(connection.transaction(envelope(), each).answers[0].is_accepted for each in letters)
        assert connection.transaction_count == 8
    for each in letters:
        assert_arrived(server, each, until)


@pytest.mark.parametrize("window", [2, 8])
def test_threads_share_one_connection(server, until, window):
    letters = [letter(b"shared\r\n") for _ in range(24)]
    with connect(server, window=window) as connection:
        connection.open()
        room = connection.room
        crew = Crew(lambda each: connection.transaction(envelope(), each).answers[0], room)
        for each in letters:
            crew.give(each)
        answers = [crew.ended().answer for _ in letters]
        crew.close()
        assert all(answer.is_accepted for answer in answers), [str(answer.reply) for answer in answers]
        assert connection.transaction_count == 24 and room >= 1 + connection.extensions.pipelining
    for each in letters:
        assert_arrived(server, each, until)


def test_a_server_that_offers_nothing_is_spoken_to_step_by_step(postfix, until):
    octets = letter(b"seven bits\r\n")
    with connect(postfix, port=postfix.ports["bare"]) as connection:
        assert not connection.open().pipelining
        assert connection.transaction(Envelope.of("ann@lab.test", "bob@lab.test"), octets).answers[0].is_accepted
    assert_arrived(postfix, octets, until)


def test_who_pipelines_and_who_does_not_is_as_their_manuals_say(server):
    with connect(server) as connection:
        assert connection.open().pipelining is (server.name != "opensmtpd")


@pytest.mark.parametrize("server", ["postfix", "exim", "dovecot"], indirect=True)
def test_content_in_counted_pieces_arrives_octet_for_octet(server, until, monkeypatch):
    if "chunking" not in inspect.signature(ClientProtocol.begin).parameters:
        pytest.skip("the client asks for BDAT only where content has no lines")
    plain = ClientProtocol.begin
    monkeypatch.setattr(ClientProtocol, "begin", lambda self, *given, **named: plain(self, *given, **named | {"chunking": True}))
    octets = letter()
    with connect(server) as connection:
        assert connection.open().chunking
        result = connection.transaction(envelope(), octets)
    assert result.answers[0].is_accepted
    assert_arrived(server, octets, until)


def test_a_certificate_that_the_authority_signed_is_believed(server, authority, until):
    require_tls(server)
    octets = letter()
    with connect(server, tls=TlsMode.REQUIRED, ca_file=authority.ca_file) as connection:
        assert connection.transaction(envelope(), octets).answers[0].is_accepted
    assert_arrived(server, octets, until)


def test_tls_goes_through_or_is_done_without_where_nobody_requires_it(server, until):
    octets = letter(b"perhaps in clear\r\n")
    with connect(server, tls=TlsMode.OPPORTUNISTIC) as connection:
        # Where TLS is broken it may break behind the handshake of TLS 1.3, too.
        assert connection.transaction(envelope(), octets).answers[0].is_accepted
    assert_arrived(server, octets, until)


def test_a_certificate_of_somebody_else_is_not(server, tmp_path):
    require_tls(server)
    stranger = pytest.importorskip("trustme").CA()
    stranger.cert_pem.write_to_path(tmp_path / "ca.pem")
    with pytest.raises(TransientFailure, match="certificate") as trouble:
        connect(server, tls=TlsMode.REQUIRED, ca_file=tmp_path / "ca.pem").open()
    assert str(trouble.value.status) == "4.7.5"


@pytest.mark.parametrize("mechanism", MECHANISMS)
def test_dovecot_lets_us_in_at_postfix_by_each_mechanism(postfix, mechanism, authority, until):
    octets = letter(b"known\r\n")
    ann = Credentials("ann@lab.test", "secret")
    connection = connect(postfix, port=postfix.ports[mechanism], tls=TlsMode.REQUIRED, ca_file=authority.ca_file, credentials=ann)
    with connection:
        assert connection.open().auth == (mechanism,)
        assert connection.transaction(envelope(), octets).answers[0].is_accepted
    until(lambda: f"sasl_method={mechanism}, sasl_username=ann@lab.test" in postfix.log, "Postfix logs who it was")


@pytest.mark.parametrize("mechanism", MECHANISMS)
def test_a_wrong_password_is_told_as_such(postfix, mechanism, authority):
    wrong = Credentials("ann@lab.test", "guess")
    with pytest.raises(TransientFailure, match="did not accept user") as trouble:
        connect(postfix, port=postfix.ports[mechanism], tls=TlsMode.REQUIRED, ca_file=authority.ca_file, credentials=wrong).open()
    assert str(trouble.value.status).startswith("4.7.")


@pytest.mark.parametrize("server", ["exim", "opensmtpd"], indirect=True)
def test_the_others_let_us_in_too(server, authority, until):
    require_tls(server)
    octets = letter(b"known\r\n")
    ann = Credentials("ann@lab.test", "secret")
    with connect(server, tls=TlsMode.REQUIRED, ca_file=authority.ca_file, credentials=ann) as connection:
        assert connection.transaction(envelope(), octets).answers[0].is_accepted
    assert_arrived(server, octets, until)
    mark = "A=(cram|plain|login):ann@lab.test" if server.name == "exim" else "authentication user=ann@lab.test"
    until(lambda: re.search(mark, server.log), f"the log says who it was: {server.log[-1000:]}")


@pytest.mark.parametrize("server", ["postfix", "exim"], indirect=True)
def test_addresses_and_fields_in_utf8_go_where_that_is_offered(server, until):
    octets = letter(b"text\r\n", "Subject: Grüße aus Köln\r\n".encode())
    with connect(server) as connection:
        assert connection.open().smtputf8
        result = connection.transaction(envelope("jörg@lab.test", smtputf8=True), octets)
    assert result.answers[0].is_accepted, result
    assert_arrived(server, octets, until)


@pytest.mark.parametrize("server", ["opensmtpd"], indirect=True)
def test_an_address_in_utf8_is_refused_by_ourselves_where_it_is_not_offered(server):
    with connect(server) as connection:
        (answer,) = connection.transaction(envelope("jörg@lab.test", smtputf8=True), letter()).answers
    assert answer.is_permanent and answer.command == "" and str(answer.reply.enhanced_status).startswith("5.6.7")


WITH_DSN = Envelope(
    "ann@lab.test",
    (ForwardPath("bob@lab.test", ("SUCCESS", "DELAY"), "rfc822;b+2Bbob@lab.test"),),
    MailParameters(body="8BITMIME", ret="HDRS", envid="QQ314159"),
)


@pytest.mark.parametrize("server", ["postfix", "exim", "opensmtpd"], indirect=True)
def test_requests_for_reports_are_taken(server, until):
    octets = letter(b"report, please\r\n")
    with connect(server) as connection:
        assert connection.open().dsn
        assert connection.transaction(WITH_DSN, octets).answers[0].is_accepted
    until(lambda: from_mark(octets) in map(from_mark, server.copies()), f"{server.name} delivers")
    if server.name == "opensmtpd":
        return  # it takes the request for a report of success, and makes none

    def report():
        # The mark of our message stands in the part of the report that gives back its header.
        return [copy for copy in server.copies() if b"multipart/report" in copy and octets.partition(b"\r\n")[0] in copy]

    (told,) = until(report, f"{server.name} reports")
    status = parse(told).delivery_report
    assert status.original_envelope_id == "QQ314159"
    (one,) = status.recipients
    # Exim gives the address back as it stood in the command.
    assert one.original_recipient.text in ("b+bob@lab.test", "b+2Bbob@lab.test") and one.action == "delivered"


def test_requests_for_reports_reach_the_next_server(make_postfix, until):
    with ScriptedPeer() as peer:
        more = f"default_transport = smtp:[127.0.0.1]:{peer.port}\nrelay_transport = $default_transport\n"
        services = "smtp unix - - n - - smtp\n"
        more += "virtual_mailbox_domains =\nsmtp_tls_security_level = none\n"
        relay = make_postfix("relay", lambda home: None, more, services)
        relay.name = "postfix"
        with connect(relay) as connection:
            assert connection.transaction(WITH_DSN, letter(b"report, please\r\n")).answers[0].is_accepted
        until(lambda: peer.taken, "Postfix passes it on")
        (mail,) = [line for line in peer.sessions[0] if line.startswith("MAIL")]
        (rcpt,) = [line for line in peer.sessions[0] if line.startswith("RCPT")]
    assert "RET=HDRS" in mail and "ENVID=QQ314159" in mail
    assert "NOTIFY=SUCCESS,DELAY" in rcpt and "ORCPT=rfc822;b+2Bbob@lab.test" in rcpt


def test_lmtp_answers_for_each_recipient(dovecot, until):
    with connect(dovecot) as connection:
        first = connection.transaction(envelope("full@lab.test"), letter(b"fills it\r\n"))
        assert first.answers[0].is_accepted
        octets = letter()
        names = ("ann@lab.test", "nobody@lab.test", "full@lab.test", "bob@lab.test")
        ann, nobody, full, bob = connection.transaction(envelope(*names), octets).answers
    assert ann.is_accepted and bob.is_accepted and ann.reply.text != bob.reply.text
    assert nobody.command == "RCPT" and nobody.is_permanent and nobody.reply.code == 550
    # Whether a full mailbox is noticed before or behind the message is Dovecot's affair; for good it is not.
    assert not full.is_accepted and str(full.reply.enhanced_status).endswith(".2.2")
    assert_arrived(dovecot, octets, until, copies=2)


PIPELINE = """\
[source]
use = "mbox"
path = "archive.mbox"

[envelope]
reverse_path = "ann@lab.test"
recipients = ["bob@lab.test"]

[sink]
use = "smtp"
host = "127.0.0.1"
port = {port}
tls = "never"
window = {window}

[queue]
directory = "queue"
"""


@pytest.mark.timeout(900)
@pytest.mark.parametrize("window", [1, 8])
def test_thousands_of_messages_arrive_once_and_whole(make_postfix, tmp_path, window):
    server = make_postfix(f"thousands{window}", lambda home: None)
    letters = [letter(b"%d\r\n" % number + os.urandom(200).hex().encode() + b"\r\n") for number in range(HOW_MANY)]
    with (tmp_path / "archive.mbox").open("wb") as archive:
        for each in letters:
            archive.write(b"From ann@lab.test Mon Nov 23 10:00:00 2026\n" + each.replace(b"\r\n", b"\n") + b"\n")
    (tmp_path / "p.toml").write_text(PIPELINE.format(port=server.port, window=window))
    command = [sys.executable, "-m", "mailpipe", "run", "p.toml", "--json"]
    environment = os.environ | {"PYTHONPATH": str(TOP)}
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, env=environment, timeout=800)
    assert done.returncode == 0, done.stdout + done.stderr
    delivered = Counter(hashlib.sha256(from_mark(copy)).hexdigest() for copy in server.accepted())
    assert delivered == Counter(hashlib.sha256(from_mark(each)).hexdigest() for each in letters)
    assert len(re.findall("status=sent", server.log)) == HOW_MANY
