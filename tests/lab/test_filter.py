"""`mailpipe filter` between a real Postfix and itself: what is accepted arrives as it came, and nothing is ever lost."""

import os
import re
import shlex
import shutil
import smtplib
import subprocess
import sys
from pathlib import Path

import pytest

import mailpipe

pytestmark = pytest.mark.lab

TOP = Path(__file__).resolve().parents[2]
NOBODY = 65534
TRACE = ("received", "return-path", "delivered-to", "x-original-to")
PACKAGES = [path for path in sys.path if path.endswith("site-packages")]

# The pipeline is chosen by the recipient's domain, so that one Postfix serves every case.
SERVICES = """\
pickup unix n - n 60 1 pickup
  -o content_filter= -o receive_override_options=no_header_body_checks
127.0.0.1:{filtered} inet n - n - - smtpd
  -o content_filter=mailpipe:dummy
127.0.0.1:{by_smtp} inet n - n - - smtpd
  -o content_filter=mailsmtp:dummy
127.0.0.1:{by_script} inet n - n - - smtpd
  -o content_filter=mailscript:dummy
127.0.0.1:{impatient} inet n - n - - smtpd
  -o content_filter=mailslow:dummy
mailpipe unix - n n - 2 pipe
  flags=q user=nobody null_sender=
  argv={home}/filter/mailpipe filter {home}/filter/${domain}/p.toml --sendmail -f ${sender} -- ${recipient}
mailslow unix - n n - 2 pipe
  flags=q user=nobody null_sender=
  argv={home}/filter/mailpipe filter {home}/filter/${domain}/p.toml --time-limit 2 --sendmail -f ${sender} -- ${recipient}
mailsmtp unix - n n - 2 pipe
  flags=q user=nobody null_sender=
  argv={home}/filter/mailpipe filter {home}/filter/${domain}/p.toml
  --client-address ${client_address} --client-name ${client_hostname} --client-port ${client_port}
  --client-protocol ${client_protocol} --client-helo ${client_helo} --client-ident ${queue_id}
  --original-recipient ${original_recipient} -f ${sender} -- ${recipient}
mailscript unix - n n - 2 pipe
  flags=q user=nobody null_sender=
  argv={home}/filter/script {home}/filter/${domain}/p.toml ${sender} ${recipient}
"""
MORE = "allow_min_user = yes\n" + "".join(f"{name}_destination_recipient_limit = 1\n" for name in ("mailpipe", "mailsmtp", "mailscript"))
SCRIPT = """\
#!/bin/sh
# the other way: by standard output, and the mail server's sendmail called by hand
result=$(mktemp) || exit 75
trap 'rm -f "$result"' EXIT
{mailpipe} filter "$1" --stdout -f "$2" -- "$3" > "$result" || exit $?
/usr/sbin/sendmail -G -i -f "${{2:-<>}}" -- "$3" < "$result"
"""
STAGE = '''
import os, sys, threading
import mailpipe
from mailpipe import Verdict


class Act(mailpipe.Stage["Act.Options"]):
    """Does what the test says."""

    name = "act"

    class Options(mailpipe.Options):
        """One."""

        code: str
        """Python."""

    def process(self, mail):
        scope = dict(globals(), mail=mail)
        exec(self.options.code, scope)
        return scope.get("answer", mail)


def register(registry):
    registry.add_stage(Act)
'''
MESSAGE = b"From: Ann <ann@example.org>\r\nTo: Bob <bob@example.net>\r\nSubject: trial\r\n\r\nHello.\r\n"


class Relay:
    """A Postfix with the filter in it, and what is asked of both."""

    def __init__(self, server, ports, until) -> None:
        self.server, self.ports, self.until = server, ports, until

    @property
    def folder(self) -> Path:
        return self.server.home / "filter"

    def pipeline(self, domain: str, code: str = "pass", sink: str = 'use = "discard"', more: str = "") -> Path:
        """The pipeline of a domain, with one stage that runs the code."""
        folder = self.folder / domain
        (folder / "plugins").mkdir(parents=True, exist_ok=True)
        (folder / "plugins" / "act.py").write_text(STAGE)
        file = folder / "p.toml"
        file.write_text(f"[[stage]]\nuse = \"act\"\ncode = '''{code}'''\n[sink]\n{sink}\n{more}")
        return file

    def send(self, octets: bytes, *recipients: str, sender: str = "ann@example.org", door: str = "filtered") -> None:
        """Give Postfix a message by SMTP."""
        with smtplib.SMTP("127.0.0.1", self.ports.get(door, self.server.port), "client.lab.test") as session:
            session.command_encoding = "utf-8"
            session.ehlo()
            utf8 = "" if all(each.isascii() for each in (sender, *recipients)) else " SMTPUTF8"
            for command, good in [
                (f"MAIL FROM:<{sender}>{utf8}", 250),
                *((f"RCPT TO:<{recipient}>", 250) for recipient in recipients),
                ("DATA", 354),
            ]:
                reply = session.docmd(command)
                assert reply[0] == good, (command, reply)
            session.send(re.sub(rb"(?m)^\.", b"..", octets) + b".\r\n")
            reply = session.getreply()
            assert reply[0] == 250, reply

    def copies(self, address: str) -> list[bytes]:
        """What the Maildir has for an address."""
        mark = f"\nX-Original-To: {address}\n".encode()
        found = [path.read_bytes() for path in sorted((self.server.home / "mail/all/new").glob("*"))]
        return [copy for copy in found if mark in copy]

    def copy(self, address: str) -> bytes:
        """The one copy for an address, once it is there."""
        copies = self.until(lambda: self.copies(address), f"a copy for {address}; the log says:\n{self.about(address)}")
        assert len(copies) == 1
        return copies[0]

    def about(self, address: str) -> str:
        """What the log says about an address."""
        return "\n".join(line for line in self.server.log.splitlines() if f"to=<{address}>" in line)

    def flush(self) -> None:
        """Let Postfix try everything now."""
        subprocess.run(["postqueue", "-c", self.server.conf, "-f"], check=True)


@pytest.fixture(scope="module")
def relay(make_postfix, until, unused_ports):
    """A Postfix whose ports lead through the filter in four ways."""
    names = ("filtered", "by_smtp", "by_script", "impatient", "back")
    ports = dict(zip(names, unused_ports(len(names)), strict=True))
    services = SERVICES
    for name, port in ports.items():
        services = services.replace("{" + name + "}", str(port))
    services += f"127.0.0.1:{ports['back']} inet n - n - - smtpd\n  -o content_filter=\n"
    services += "  -o smtpd_authorized_xforward_hosts=127.0.0.0/8\n"

    def prepare(home: Path) -> None:
        folder = home / "filter"
        folder.mkdir()
        cache = folder / "cache"
        cache.mkdir()
        os.chown(cache, NOBODY, NOBODY)
        command = shlex.join(
            ["/usr/bin/env", "-u", "PYTHONDONTWRITEBYTECODE", f"PYTHONPATH={':'.join([str(TOP), *PACKAGES])}",
             f"PYTHONPYCACHEPREFIX={cache}", python_of_nobody(), "-m", "mailpipe"]
        )  # fmt: skip
        (folder / "mailpipe").write_text(f'#!/bin/sh\nexec {command} "$@"\n')
        (folder / "script").write_text(SCRIPT.format(mailpipe=folder / "mailpipe"))
        for name in ("mailpipe", "script"):
            (folder / name).chmod(0o755)

    return Relay(make_postfix("filter", prepare, MORE + "mailslow_time_limit = 20s\n", services), ports, until)


def python_of_nobody() -> str:
    """An interpreter that an unprivileged user can run, with our packages."""
    for python in (sys.executable, "/usr/bin/python3"):
        environment = {"PATH": "/usr/bin:/bin", "PYTHONPATH": ":".join([str(TOP), *PACKAGES])}
        try:
            done = subprocess.run(
                [python, "-c", "import mailpipe.pipeline.settings"], user=NOBODY, group=NOBODY, extra_groups=[],
                cwd="/", env=environment, capture_output=True,
            )  # fmt: skip
        except OSError:
            continue
        if done.returncode == 0:
            return python
    pytest.skip("no Python that an unprivileged user may run")


def without_trace(octets: bytes) -> bytes:
    """The message without the fields that each passage of a server adds."""
    header, empty, body = octets.partition(b"\n\n")
    fields = re.split(rb"\n(?![ \t])", header)
    kept = [field for field in fields if field.partition(b":")[0].decode("latin-1").strip().lower() not in TRACE]
    return b"\n".join(kept) + empty + body


ODD_MESSAGES = {
    "plain": MESSAGE,
    "a lone dot": MESSAGE + b".\r\n..\r\n.x\r\n",
    "From at the beginning of the body": MESSAGE.replace(b"\r\n\r\n", b"\r\n\r\nFrom ann Mon Nov 23 10:00:00 2026\r\n"),
    "From at the beginning": b"From ann@example.org Mon Nov 23 10:00:00 2026\r\n" + MESSAGE,
    "a line of a megabyte": MESSAGE + b"x" * (1 << 20) + b"\r\n",
    "a NUL": MESSAGE + b"a\0b\r\n",
    "octets of no charset": MESSAGE + bytes(range(128, 256)) + b"\r\n",
    "no header": b"\r\nbody\r\n",
    "no body": MESSAGE.partition(b"\r\n\r\n")[0] + b"\r\n",
    "lines of blanks": MESSAGE + b" \r\n\t\r\n  trailing  \r\n\r\n\r\n",
    "a bare CR": MESSAGE + b"a\rb\r\n",
}


@pytest.mark.parametrize("door", ["filtered", "by_smtp", "by_script"])
def test_what_is_accepted_arrives_as_without_the_filter(relay, door):
    domain = f"{door.replace('_', '-')}.example"
    relay.pipeline(domain, sink=f'use = "smtp"\nhost = "127.0.0.1"\nport = {relay.ports["back"]}')
    for number, octets in enumerate(ODD_MESSAGES.values()):
        relay.send(octets, f"straight{number}@{domain}", door="straight")
        relay.send(octets, f"user{number}@{domain}", sender=f"from{number}@{domain}", door=door)
    for number, name in enumerate(ODD_MESSAGES):
        expected, arrived = relay.copy(f"straight{number}@{domain}"), relay.copy(f"user{number}@{domain}")
        if door == "by_smtp" and name in {"a line of a megabyte", "a NUL"}:
            # that cannot be said in SMTP: it is encoded, and the content is the same
            assert b"Content-Transfer-Encoding" in arrived, name
            assert mailpipe.parse(arrived).octets == mailpipe.parse(expected).octets
            continue
        assert without_trace(arrived) == without_trace(expected), name


def test_the_log_goes_on_saying_where_a_message_came_from(relay):
    sink = f'use = "smtp"\nhost = "127.0.0.1"\nport = {relay.ports["back"]}\nforward_client = "xforward"'
    relay.pipeline("origin.example", sink=sink)
    relay.send(MESSAGE, "x@origin.example", door="by_smtp")
    relay.copy("x@origin.example")
    relayed = [line for line in relay.server.log.splitlines() if "orig_client=" in line]
    passed = re.compile(r": ([0-9A-F]+): to=<x@origin\.example>.*relay=mailsmtp")
    first = relay.until(lambda: passed.search(relay.server.log), "a line about the filter")
    assert len(relayed) == 1 and f"orig_queue_id={first[1]}, orig_client=" in relayed[0]
    assert relayed[0].endswith("[127.0.0.1]")


def test_a_message_without_a_final_line_end_is_given_one_by_the_server(relay):
    pipeline = relay.pipeline("final.example")
    command = [relay.folder / "mailpipe", "filter", pipeline, "--sendmail", "-f", "a@b.example", "--", "x@final.example"]
    environment = {"MAIL_CONFIG": relay.server.conf, "PATH": "/usr/bin:/bin"}
    done = subprocess.run(
        command, input=b"Subject: x\n\nno end", env=environment, capture_output=True,
        user=NOBODY, group=NOBODY, extra_groups=[], cwd="/",
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, b"")
    assert without_trace(relay.copy("x@final.example")) == b"Subject: x\n\nno end\n"


def test_what_a_stage_changed_arrives_changed(relay):
    code = "h = mail.message.header; answer = mail.with_message(mail.message.with_header(h.with_field('X-Seen', 'yes')))"
    relay.pipeline("changed.example", code)
    relay.send(MESSAGE, "x@changed.example")
    arrived = without_trace(relay.copy("x@changed.example"))
    assert b"\nX-Seen: yes\n" in arrived
    assert arrived.replace(b"X-Seen: yes\n", b"") == MESSAGE.replace(b"\r\n", b"\n")


def test_a_rejected_message_bounces_with_our_status_and_reason(relay):
    relay.pipeline("rejected.example", "answer = Verdict.reject('no executables, please', status='5.7.1')")
    relay.send(MESSAGE, "x@rejected.example", sender="rejected@sender.example")
    report = relay.copy("rejected@sender.example")
    assert b"\nStatus: 5.7.1\n" in report and b"\nDiagnostic-Code: x-unix; no executables, please\n" in report
    assert b"\nAction: failed\n" in report and b"Traceback" not in report
    assert not relay.copies("x@rejected.example")


def test_a_part_of_a_split_mail_that_is_rejected_bounces(relay):
    file = relay.pipeline("split.example", "answer = [mail, mail.with_envelope(mail.envelope.with_reverse_path('c@d'))]")
    reject = "answer = Verdict.reject('not this one') if mail.envelope.reverse_path == 'c@d' else mail"
    file.write_text(file.read_text().replace("[sink]", f"[[stage]]\nuse = 'act'\ncode = \"\"\"{reject}\"\"\"\n[sink]"))
    relay.send(MESSAGE, "x@split.example", sender="split@sender.example")
    assert b"Diagnostic-Code: x-unix; not this one" in relay.copy("split@sender.example")
    relay.copy("x@split.example")


def test_each_recipient_has_a_verdict_of_its_own(relay):
    relay.pipeline("several.example", "answer = mail if 'good' in mail.envelope.addresses[0] else Verdict.reject('bad')")
    relay.send(MESSAGE, "good1@several.example", "bad@several.example", "good2@several.example", sender="n@s.example")
    relay.copy("good1@several.example")
    relay.copy("good2@several.example")
    report = relay.copy("n@s.example")
    assert b"bad@several.example" in report and b"good1" not in report


RULED = """
[[stage]]
use = "reject"
reason = "not wanted here"
when.field = { name = "Subject", contains = "forbidden" }
[[stage]]
use = "act"
code = """ + "\'\'\'os.kill(os.getpid(), 9) if 'kill' in mail.message.subject else None; answer = mail\'\'\'" + """
isolate = true
on_error = "skip"
[[stage]]
use = "subject-tag"
tag = "[list]"
when.list_mail = true
[[stage]]
goto = "elsewhere"
when.recipient = { is = "moved@ruled.example" }
[[route.elsewhere.stage]]
use = "redirect"
to = ["there@ruled.example"]
"""


def test_rules_routes_and_a_stage_apart_behind_a_real_server(relay):
    file = relay.pipeline("ruled.example")
    file.write_text(file.read_text().partition("[[stage]]")[0] + RULED + file.read_text()[file.read_text().index("[sink]") :])
    letter = b"From: ann@example.org\r\nSubject: %b\r\nMessage-ID: <%b@example.org>\r\n%b\r\nHi\r\n"
    relay.send(letter % (b"forbidden", b"1", b""), "no@ruled.example", sender="forbidden@sender.example")
    relay.send(letter % (b"kill", b"2", b""), "killed@ruled.example")
    relay.send(letter % (b"tides", b"3", b"List-Id: <t.example.org>\r\n"), "list@ruled.example", "moved@ruled.example")
    assert b"Diagnostic-Code: x-unix; not wanted here" in relay.copy("forbidden@sender.example")
    assert b"Subject: kill\n" in relay.copy("killed@ruled.example")
    assert b"Subject: [list] tides\n" in relay.copy("list@ruled.example")
    assert b"Subject: [list] tides\n" in relay.copy("there@ruled.example")
    assert not relay.copies("moved@ruled.example") and not relay.copies("no@ruled.example")


OUR_FAULTS = {
    "deferred": "answer = Verdict.defer('come again')",
    "raises": "1 / 0",
    "exits": "sys.exit(0)",
    "exits-with-77": "sys.exit(77)",
    "leaves": "os._exit(0)",
    "crashes": "os.abort()",
    "killed": "os.kill(os.getppid(), 9); os.kill(os.getpid(), 9)",
    "becomes": "os.execv('/bin/true', ['true'])",
    "prints": "os.write(2, b'5.7.1 go away\\\\n'); os.write(1, b'5.7.1 go away\\\\n'); 1 / 0",
    "forks": "os._exit(0) if os.fork() else os._exit(0)",
    "no-answer": "answer = None",
    "memory": "bytearray(1 << 60)",
}
BREAKAGES = {
    "no-toml": lambda file: file.write_text("[sink\n"),
    "unknown-stage": lambda file: file.write_text('[[stage]]\nuse = "nope"\n[sink]\nuse = "discard"\n'),
    "missing-folder": lambda file: shutil.rmtree(file.parent),
    "unreadable": lambda file: file.chmod(0),
    "unreadable-plugins": lambda file: (file.parent / "plugins").chmod(0),
    "broken-plugin": lambda file: (file.parent / "plugins/act.py").write_text("import sys; sys.exit(77)"),
    "no-temporary": lambda file: file.write_text('[[stage]]\nuse = "act"\ncode = "import tempfile; '
                                                 'tempfile.tempdir = \'/nonexistent\'"\n[sink]\nuse = "discard"\n'),
    "no-sendmail": lambda file: file.write_text('[sink]\nuse = "sendmail"\ncommand = ["/nonexistent"]\n'),
    "sendmail-not-ours": lambda file: file.write_text(
        '[sink]\nuse = "sendmail"\ncommand = ["/bin/sh", "-c", "echo not allowed to submit mail >&2; exit 77"]\n'
    ),
}  # fmt: skip


def test_what_is_our_own_fault_stays_in_the_queue_and_arrives_once_it_is_mended(relay):
    domains = [f"{name}.fault.example" for name in (*OUR_FAULTS, *BREAKAGES)]
    for name, code in OUR_FAULTS.items():
        relay.pipeline(f"{name}.fault.example", code)
    for name, damage in BREAKAGES.items():
        damage(relay.pipeline(f"{name}.fault.example"))
    for domain in domains:
        relay.send(MESSAGE, f"x@{domain}", sender=f"s@{domain}")
    for domain in domains:
        said = relay.until(lambda domain=domain: relay.about(f"x@{domain}"), f"Postfix tries {domain}", 60)
        assert "status=deferred" in said and "dsn=4." in said, said
        assert "Traceback" not in said
    assert "status=bounced" not in "".join(relay.about(f"x@{domain}") for domain in domains)

    for domain in domains:
        shutil.rmtree(relay.folder / domain, ignore_errors=True)
        relay.pipeline(domain)
    relay.flush()
    for domain in domains:
        assert without_trace(relay.copy(f"x@{domain}")) == MESSAGE.replace(b"\r\n", b"\n")
        assert not relay.copies(f"s@{domain}"), f"{domain} bounced"


def test_a_call_that_takes_too_long_is_tried_again(relay):
    relay.pipeline("slow.example", "threading.Event().wait()")
    relay.send(MESSAGE, "x@slow.example", sender="s@slow.example", door="impatient")
    said = relay.until(lambda: relay.about("x@slow.example"), "Postfix gives up on the call")
    # Postfix bounces when its own limit is reached
    assert "status=deferred" in said and "the time limit of 2 s is over" in said
    assert not relay.copies("s@slow.example")
    subprocess.run(["postsuper", "-c", relay.server.conf, "-d", "ALL", "deferred"], capture_output=True, check=True)


ODD_RECIPIENTS = (
    "a+b@odd.example",
    "-f@odd.example",
    "--sendmail@odd.example",
    '"a b"@odd.example',
    '"a@b"@odd.example',
    '"quo\\"te"@odd.example',
    "\"$(id)`id`;&|'\"@odd.example",
    "%s{}%%@odd.example",
    "x" * 64 + "@odd.example",
)


@pytest.mark.parametrize("door", ["filtered", "by_script"])
def test_the_null_sender_and_odd_recipients_survive(relay, door):
    relay.pipeline("odd.example", "assert mail.envelope.reverse_path == ''; assert len(mail.envelope.addresses) == 1")
    for number, recipient in enumerate(ODD_RECIPIENTS):
        relay.send(MESSAGE + b"%d\r\n" % number, recipient, sender="", door=door)
    for number, recipient in enumerate(ODD_RECIPIENTS):
        copies = relay.until(
            lambda number=number: [
                copy for copy in relay.copies(ODD_RECIPIENTS[number]) if copy.endswith(b"\n%d\n" % number)
            ],
            f"a copy for {recipient}; {relay.about(recipient)}",
        )
        assert b"Return-Path: <>\n" in copies[0]
    for path in (relay.server.home / "mail/all/new").glob("*"):
        if b"@odd.example" in path.read_bytes():
            path.unlink()


def test_addresses_in_utf_8_survive(relay):
    relay.pipeline("utf8.example", "answer = mail")
    relay.send(MESSAGE, "jürgen@utf8.example", sender="zoë@example.org")
    arrived = relay.copy("jürgen@utf8.example")
    assert "Return-Path: <zoë@example.org>".encode() in arrived
    assert without_trace(arrived) == MESSAGE.replace(b"\r\n", b"\n")
