"""Authentication, XCLIENT and XFORWARD against a real Postfix with Cyrus SASL, whose passwords perl's DB_File writes."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from mailpipe.errors import TransientFailure
from mailpipe.net.endpoint import Endpoint
from mailpipe.net.sync import SmtpConnection
from mailpipe.smtp.envelope import Envelope
from mailpipe.smtp.opening import Opening
from mailpipe.smtp.sasl import Credentials

pytestmark = pytest.mark.lab

MESSAGE = b"Subject: one\r\n\r\ntext\r\n"
ENVELOPE = Envelope.of("ann@example.org", "bob@example.net")
MECHANISMS = ("SCRAM-SHA-256", "CRAM-MD5", "PLAIN", "LOGIN")
PLUGINS = ("libscram.so", "libcrammd5.so", "libplain.so", "liblogin.so", "libsasldb.so")
PASSWORDS = r"""
use DB_File;
tie my %db, "DB_File", $ARGV[0], O_RDWR | O_CREAT, 0644, $DB_HASH or die $!;
$db{join("\0", "ann", "lab.test", "userPassword")} = "correct horse\xc3\xa4";
untie %db;
"""
MORE = """
smtpd_sasl_auth_enable = yes
smtpd_sasl_type = cyrus
smtpd_sasl_path = smtpd
smtpd_sasl_local_domain = lab.test
smtpd_sasl_security_options = noanonymous
inet_protocols = all
smtpd_authorized_xclient_hosts = 127.0.0.1
smtpd_authorized_xforward_hosts = 127.0.0.1
"""


@pytest.fixture(scope="module")
def server(make_postfix):
    """A function that makes one that offers the given mechanisms only."""
    folders = list(Path("/usr/lib").glob("*/sasl2"))
    if not folders or any(not (folders[0] / name).exists() for name in PLUGINS):
        pytest.skip("the Debian packages libsasl2-modules and libsasl2-modules-db are not installed")
    if shutil.which("perl") is None or subprocess.run(["perl", "-MDB_File", "-e", "1"], capture_output=True).returncode:
        pytest.skip("perl with DB_File is not installed")

    def prepare(home):
        (home / "conf/sasl").mkdir()  # where Debian's Postfix looks, whatever cyrus_sasl_config_path says
        settings = "pwcheck_method: auxprop\nauxprop_plugin: sasldb\nsasldb_path: {}\nmech_list: {}\n"
        (home / "conf/sasl/smtpd.conf").write_text(settings.format(home / "sasldb2", " ".join(MECHANISMS)))
        subprocess.run(["perl", "-e", PASSWORDS, str(home / "sasldb2")], check=True)
        os.chmod(home / "sasldb2", 0o644)
        with (home / "conf/main.cf").open("a") as file:
            file.write(MORE)

    return make_postfix("auth", prepare)


@pytest.mark.parametrize("name", MECHANISMS)
def test_a_real_server_believes_every_mechanism_and_no_wrong_password(server, name):
    def told(password):
        return Opening("client.test", credentials=Credentials("ann", password, True, mechanisms=(name,)))

    endpoint = Endpoint("127.0.0.1", server.port)
    with SmtpConnection(endpoint, told("correct horseä")) as one:
        assert one.transaction(ENVELOPE, MESSAGE).answers[0].is_accepted
    assert f"sasl_method={name}, sasl_username=ann" in server.log
    with pytest.raises(TransientFailure, match="did not accept user 'ann' and password: 535"):
        SmtpConnection(endpoint, told("wrong")).open()


def test_a_real_server_takes_us_for_whom_xclient_names(server):
    xclient = (("NAME", "spike.example.org"), ("ADDR", "2001:db8::7"), ("HELO", "spike"), ("PORT", None))
    with SmtpConnection(Endpoint("127.0.0.1", server.port), Opening("client.test", xclient=xclient)) as one:
        assert "PIPELINING" in one.open()
        one.transaction(ENVELOPE, MESSAGE)
    assert "spike.example.org[2001:db8::7]" in server.log


def test_a_real_server_logs_what_xforward_says(server):
    xforward = (("NAME", "far.example.org"), ("ADDR", "192.0.2.77"), ("SOURCE", "REMOTE"), ("IDENT", "4711"))
    with SmtpConnection(Endpoint("127.0.0.1", server.port), Opening("client.test", xforward=xforward)) as one:
        assert one.transaction(ENVELOPE, MESSAGE).answers[0].is_accepted
    assert "orig_client=far.example.org[192.0.2.77]" in server.log
    assert "orig_queue_id=4711" in server.log
