"""What destinations announce about TLS: policies of MTA-STS over HTTPS, records of DANE, and what is counted."""

import http.server
import ssl
import threading

import pytest
import trustme
from hypothesis import given
from hypothesis import strategies as st

from mailpipe.errors import TransientFailure
from mailpipe.net.resolver import Resolver
from mailpipe.net.tls import name_fits
from mailpipe.net.tls_policy import (
    HttpsFetch,
    StsMode,
    StsPolicies,
    StsPolicy,
    TlsCount,
    TlsCounters,
    TlsProblem,
    parse_sts_policy,
    parse_sts_record,
    problem_of,
)
from mailpipe.status import EnhancedStatus

POLICY = b"version: STSv1\r\nmode: enforce\r\nmx: mx.example.test\r\nmx: *.example.test\r\nmax_age: 1000\r\n"


class Clock:
    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def resolver(dns_server, clock):
    return Resolver([dns_server.address], clock=clock, timeout=0.5, validates=True)


@pytest.fixture(scope="module")
def authority():
    return trustme.CA()


# MTA-STS


@pytest.mark.parametrize(
    ("texts", "ident"),
    [
        (["v=STSv1; id=2026;"], "2026"),
        (["v=STSv1;id=2026"], "2026"),
        (["v=spf1 -all", "v=STSv1 ; id = a1 ; new=thing"], "a1"),
        (["v=STSv1; id=1;", "v=STSv1; id=2;"], None),
        (["v=STSv1;"], None),
        (["v=STSv1; id=;"], None),
        (["v=STSv1; id=not-a-word;"], None),
        (["v=STSv1; id=" + "1" * 33], None),
        (["v=STSv10; id=1;"], None),
        ([" v=STSv1; id=1;"], None),
        ([], None),
    ],
)
def test_the_record_names_the_present_policy(texts, ident):
    assert parse_sts_record(texts) == ident


def test_a_policy_is_read():
    assert parse_sts_policy(POLICY) == StsPolicy(StsMode.ENFORCE, ("mx.example.test", "*.example.test"), 1000)
    assert parse_sts_policy(POLICY.replace(b"\r\n", b"\n") + b"new: thing\n") == parse_sts_policy(POLICY)
    assert parse_sts_policy(b"version: STSv1\nmode: none\nmax_age: 99999999999\n"[:-4] + b"\n").mode is StsMode.NONE
    assert parse_sts_policy(POLICY.replace(b"1000", b"9999999999")).max_age == 31_557_600


@pytest.mark.parametrize(
    "octets",
    [b"", POLICY.replace(b"STSv1", b"STSv2"), POLICY.replace(b"enforce", b"sometimes"), POLICY.replace(b"1000", b"-1"),
     POLICY.replace(b"mx:", b"my:"), POLICY.replace(b"max_age", b"age"), b"<html>\xff</html>"],
)  # fmt: skip
def test_what_is_no_policy_is_refused(octets):
    with pytest.raises(ValueError):
        parse_sts_policy(octets)


@given(st.binary(max_size=300))
def test_no_octets_break_the_reader_of_policies(octets):
    try:
        policy = parse_sts_policy(octets)
    except ValueError:
        return
    assert policy.mode in StsMode


@pytest.mark.parametrize(
    ("pattern", "name", "fits"),
    [
        ("mx.example.test", "MX.example.test.", True),
        ("*.example.test", "mx.example.test", True),
        ("*.example.test", "a.mx.example.test", False),
        ("*.example.test", "example.test", False),
        ("*.test", "example.test", False),
        ("m*.example.test", "mx.example.test", False),
        ("*", "example", False),
    ],
)
def test_a_star_stands_for_one_label(pattern, name, fits):
    assert name_fits(pattern, name) is fits


class Web:
    """A fetch that counts and can fail."""

    def __init__(self):
        self.policy, self.asked = POLICY, []

    def __call__(self, domain):
        self.asked.append(domain)
        if isinstance(self.policy, Exception):
            raise self.policy
        return self.policy


@pytest.fixture
def web():
    return Web()


@pytest.fixture
def counters():
    return TlsCounters()


@pytest.fixture
def policies(resolver, web, clock, counters):
    return StsPolicies(resolver, web, clock=clock, counters=counters)


def publish(dns_server, ident, ttl=10):
    dns_server.add("_mta-sts.example.test", "TXT", f'"v=STSv1; id={ident};"', ttl=ttl)


def test_a_domain_without_record_is_not_asked_for_a_policy(policies, web):
    assert policies.find("example.test") is None and not web.asked


def test_a_policy_is_fetched_once_and_again_when_its_record_changes(dns_server, policies, web, clock):
    publish(dns_server, "1")
    assert all(policies.find("example.test").allows("mx.example.test") for _ in range(3))
    clock.now += 20
    assert policies.find("example.test").allows("mx.example.test") and len(web.asked) == 1
    publish(dns_server, "2")
    web.policy = POLICY.replace(b"enforce", b"testing")
    clock.now += 20
    assert policies.find("example.test").mode is StsMode.TESTING and len(web.asked) == 2


def test_a_policy_is_fetched_again_when_it_has_expired(dns_server, policies, web, clock):
    publish(dns_server, "1")
    policies.find("example.test")
    clock.now += 1000
    assert policies.find("example.test") is not None and len(web.asked) == 2


@pytest.mark.parametrize("attack", ["silent", "failing", "gone"])
def test_whoever_stops_the_answers_does_not_switch_a_known_policy_off(dns_server, policies, clock, attack):
    publish(dns_server, "1")
    held = policies.find("example.test")
    clock.now += 20
    if attack == "gone":
        dns_server.table.clear()
    else:
        getattr(dns_server, attack).add("_mta-sts.example.test")
    assert policies.find("example.test") is held is not None
    clock.now += 1000
    assert policies.find("example.test") is None


def test_a_new_policy_that_cannot_be_had_leaves_the_old_one(dns_server, policies, web, clock, counters):
    publish(dns_server, "1")
    held = policies.find("example.test")
    clock.now += 20
    publish(dns_server, "2")
    web.policy = ConnectionRefusedError("refused")
    assert policies.find("example.test") is held
    assert counters.values() == (TlsCount("example.test", "sts", "sts-policy-fetch-error", "", 1),)


@pytest.mark.parametrize(
    ("trouble", "problem"),
    [
        (TimeoutError("timed out"), "sts-policy-fetch-error"),
        (TransientFailure("no address"), "sts-policy-fetch-error"),
        (ValueError("404"), "sts-policy-fetch-error"),
        (ssl.SSLCertVerificationError(1, "expired"), "sts-webpki-invalid"),
        (b"no policy at all", "sts-policy-invalid"),
    ],
)
def test_a_policy_that_cannot_be_had_is_counted_and_not_asked_for_again_at_once(
    dns_server, policies, web, clock, counters, trouble, problem
):
    publish(dns_server, "1")
    web.policy = trouble
    assert [policies.find("example.test") for _ in range(3)] == [None] * 3 and len(web.asked) == 1
    assert [(one.problem, one.sessions) for one in counters.values()] == [(problem, 1)]
    web.policy = POLICY
    clock.now += 301
    assert policies.find("example.test") is not None


class Answer(http.server.BaseHTTPRequestHandler):
    """Answers with what the server was given."""

    def do_GET(self):
        status, body = self.server.answer
        self.server.asked.append((self.headers["Host"], self.path))
        if status == "slow":
            self.wfile.write(b"HTTP/1.1 200 ok\r\nContent-Length: 500\r\n\r\n" + body)
            while not self.server.over.wait(0.05):
                self.wfile.write(b"x")
            return
        self.send_response(status)
        if status == 302:
            self.send_header("Location", "https://elsewhere.test/")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


@pytest.fixture
def web_server(authority):
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answer)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("mta-sts.example.test").configure_cert(context)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    server.answer, server.asked, server.over = (200, POLICY), [], threading.Event()
    server.handle_error = lambda *_: None
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    yield server
    server.over.set()
    server.shutdown()
    server.server_close()
    thread.join(10)


@pytest.fixture
def fetch(resolver, web_server, authority, tmp_path, dns_server):
    path = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(path)
    dns_server.add_host("mta-sts.example.test", "127.0.0.1")
    dns_server.add_host("mta-sts.other.test", "127.0.0.1")
    return HttpsFetch(resolver, ca_file=path, port=web_server.server_port, timeout=10)


def test_a_policy_comes_from_the_web_server_of_its_domain(fetch, web_server):
    assert fetch("example.test") == POLICY
    host, path = web_server.asked[0]
    assert host.startswith("mta-sts.example.test") and path == "/.well-known/mta-sts.txt"


@pytest.mark.parametrize("answer", [(404, b""), (302, POLICY), (500, POLICY), (200, b"x" * 70_000)])
def test_anything_else_than_a_plain_answer_is_no_policy(fetch, web_server, answer):
    web_server.answer = answer
    with pytest.raises(ValueError):
        fetch("example.test")


def test_a_web_server_gains_nothing_by_single_octets(fetch, web_server):
    fetch._timeout, web_server.answer = 0.3, ("slow", POLICY)
    with pytest.raises((ValueError, OSError)):
        fetch("example.test")


def test_a_web_server_whose_certificate_names_another_is_not_believed(fetch):
    with pytest.raises(ssl.SSLCertVerificationError):
        fetch("other.test")


def test_a_web_server_without_address_is_none(fetch):
    with pytest.raises(TransientFailure, match="has no address"):
        fetch("missing.test")


def test_a_web_server_that_is_down_is_an_error_of_the_system(resolver, fetch, web_server):
    web_server.shutdown()
    web_server.server_close()
    with pytest.raises(OSError):
        fetch("example.test")


# counts


def test_problems_have_the_words_of_the_report():
    def failing(cause, status=None):
        failure = TransientFailure("words", status)
        failure.__cause__ = cause
        return problem_of(failure)

    def unbelieved(code):
        error = ssl.SSLCertVerificationError(1, "words")
        error.verify_code, error.verify_message = code, "words"
        return error

    assert failing(unbelieved(62)) is TlsProblem.CERTIFICATE_HOST_MISMATCH
    assert failing(unbelieved(10)) is TlsProblem.CERTIFICATE_EXPIRED
    assert failing(unbelieved(18)) is TlsProblem.CERTIFICATE_NOT_TRUSTED
    assert failing(unbelieved(65)) is TlsProblem.VALIDATION_FAILURE
    assert failing(ssl.SSLError("broken")) is TlsProblem.VALIDATION_FAILURE
    assert failing(None, EnhancedStatus(4, 7, 4)) is TlsProblem.STARTTLS_NOT_SUPPORTED
    assert failing(ConnectionRefusedError()) is None


def test_counts_add_up_from_several_threads(counters):
    def count():
        for _ in range(500):
            counters.count("example.test", "sts")
            counters.count("example.test", "sts", TlsProblem.CERTIFICATE_EXPIRED, "mx.example.test")

    threads = [threading.Thread(target=count) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert counters.values() == (
        TlsCount("example.test", "sts", "", "", 2000),
        TlsCount("example.test", "sts", "certificate-expired", "mx.example.test", 2000),
    )
