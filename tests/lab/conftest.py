"""Real servers of our own: private configuration, queue and log, on free ports of the loopback interface.

They need root (their master processes change users) and what `.ci/setup-lab` installs; without them the tests are
skipped. Nothing of the machine's own servers is used, but for one line: the tools of Postfix that run set-gid accept a
private configuration only when the machine's main.cf lists it.
"""

import os
import shutil
import socket
import subprocess
import time
from pathlib import Path

import pytest

TOOLS = ("postfix", "postconf", "postqueue", "smtp-sink")
UNPACKED = Path("/opt/mailpipe-lab")
"""Where servers lie that Debian does not let stand beside Postfix."""
OWNER = 65500
"""Owner of the Maildir; virtual(8) wants a number, not an account."""

MAIN = """\
compatibility_level = 3.6
queue_directory = {home}/spool
data_directory = {home}/state
command_directory = /usr/sbin
daemon_directory = /usr/lib/postfix/sbin
mail_owner = postfix
setgid_group = postdrop
# without all three of these (the last is in master.cf) there is no log, because there is no syslog
maillog_file = {home}/log/maillog
maillog_file_prefixes = {home}, /dev/stdout
syslog_name = postfix-lab

myhostname = mx.lab.test
mydomain = lab.test
myorigin = lab.test
mydestination =
local_transport = error:5.1.1 nobody is local here
local_recipient_maps =
alias_maps =
alias_database =
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
mynetworks = 127.0.0.0/8
biff = no
# no question leaves the machine
smtpd_peername_lookup = no
smtp_dns_support_level = disabled
smtp_host_lookup = native
smtpd_recipient_restrictions = permit_mynetworks, reject
# every address there is goes into one Maildir
default_transport = virtual:
relay_transport = virtual:
virtual_transport = virtual
virtual_mailbox_domains = static:all
virtual_mailbox_base = {home}/mail
virtual_mailbox_maps = static:all/
virtual_uid_maps = static:{owner}
virtual_gid_maps = static:{owner}
virtual_minimum_uid = 1000
# it is to keep what it gets: no address completed, no field added, none taken away
local_header_rewrite_clients =
message_drop_headers =
always_add_missing_headers = no
strict_smtputf8 = no
# no limits on speed: it is a test
smtpd_client_connection_count_limit = 0
smtpd_client_connection_rate_limit = 0
smtpd_error_sleep_time = 0
in_flow_delay = 0
{more}
"""

MASTER = """\
127.0.0.1:{port} inet n - n - - smtpd
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
flush unix n - n 1000? 0 flush
proxymap unix - - n - - proxymap
showq unix n - n - - showq
error unix - - n - - error
retry unix - - n - - error
virtual unix - n n - - virtual
anvil unix - - n - 1 anvil
tlsmgr unix - - n 1000? 1 tlsmgr
postlog unix-dgram n - n - 1 postlogd
"""



def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_until(condition, words: str, seconds: float = 20.0):
    """Ask until the answer is true; the real server gives no other sign."""
    end = time.monotonic() + seconds
    while not (answer := condition()):
        if time.monotonic() > end:
            raise AssertionError(f"waited {seconds:.0f} s in vain: {words}")
        time.sleep(0.02)
    return answer


class Postfix:
    """One instance.

    Attributes:
        home: everything that it has lies here.
        port: its smtpd listens on 127.0.0.1.
    """

    def __init__(self, home: Path, more: str = "", services: str = "") -> None:
        self.home, self.port = home, free_port()
        for name in ("conf", "spool", "state", "log", "mail"):
            (home / name).mkdir(parents=True)
        shutil.chown(home / "state", "postfix")
        os.chown(home / "mail", OWNER, OWNER)
        for folder in (home, *home.parents):
            if folder.stat().st_uid == os.getuid() and folder.stat().st_mode & 0o055 != 0o055:
                folder.chmod(folder.stat().st_mode | 0o055)  # its daemons run under other users
        (home / "conf/main.cf").write_text(MAIN.format(home=home, owner=OWNER, more=more))
        (home / "conf/master.cf").write_text(MASTER.format(port=self.port) + services.replace("{home}", str(home)))
        self._allow(self.conf)

    @property
    def conf(self) -> str:
        """The configuration directory, absolute as Postfix wants it."""
        return str(self.home / "conf")

    @property
    def log(self) -> str:
        """What it has logged."""
        return (self.home / "log/maillog").read_text(errors="replace")

    def start(self) -> None:
        """Start it; returns when the port answers."""
        result = subprocess.run(["postfix", "-c", self.conf, "start"], capture_output=True, text=True)
        assert result.returncode == 0, result.stdout + result.stderr
        wait_until(self._answers, f"Postfix on port {self.port}")

    def stop(self, how: str = "stop") -> None:
        """Stop it in order, or kill it in the middle of what it does ("abort")."""
        pid = self._pid()
        subprocess.run(["postfix", "-c", self.conf, how], capture_output=True, check=False)
        if pid:
            wait_until(lambda: not Path(f"/proc/{pid}").exists(), "Postfix ends")

    def remove(self) -> None:
        """Stop it and take it out of the machine's configuration."""
        self.stop()
        self._allow(self.conf, remove=True)

    def accepted(self) -> list[bytes]:
        """Every copy in the Maildir, once the queue is empty; line ends are LF."""
        wait_until(self._is_idle, "Postfix delivers what it has")
        return [path.read_bytes() for path in sorted((self.home / "mail/all/new").glob("*"))]

    def _pid(self) -> int:
        try:
            return int((self.home / "spool/pid/master.pid").read_text())
        except (OSError, ValueError):
            return 0

    def _answers(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), 1) as connection:
                return connection.recv(4).startswith(b"220")
        except OSError:
            return False

    def _is_idle(self) -> bool:
        queues = [self.home / "spool" / name for name in ("incoming", "active", "deferred", "maildrop")]
        return not any(path.is_file() for queue in queues for path in queue.rglob("*"))

    @staticmethod
    def _allow(conf: str, remove: bool = False) -> None:
        machine = Path("/etc/postfix/main.cf")
        if not machine.exists():
            machine.write_text("compatibility_level = 3.6\nalternate_config_directories =\n")
        command = ["postconf", "-c", "/etc/postfix", "-h", "alternate_config_directories"]
        words = subprocess.run(command, capture_output=True, text=True).stdout.split()
        words = [word for word in words if word != conf] + ([] if remove else [conf])
        subprocess.run(["postconf", "-c", "/etc/postfix", "-e", f"alternate_config_directories={' '.join(words)}"])


def require(*programs: Path) -> None:
    """Skip the test where a server is not installed or cannot be started."""
    if os.getuid() != 0:
        pytest.skip("the servers can only be started by root")
    for program in programs:
        if not program.exists():
            pytest.skip(f"{program} is not here; .ci/setup-lab installs it")


class Daemon:
    """A server in the foreground of a process that we started.

    Attributes:
        name: as the tests call it.
        home: everything that it has lies here.
        port: where it listens on 127.0.0.1.
    """

    def __init__(self, name: str, user: str | int) -> None:
        self.name, self.port = name, free_port()
        self.home = Path("/var/tmp") / f"mailpipe-lab-{os.getpid()}-{name}"
        for folder in ("log", "mail", "spool", "tls", "run", "state"):
            (self.home / folder).mkdir(parents=True)
        for folder in ("log", "mail"):
            shutil.chown(self.home / folder, user)
        self._process: subprocess.Popen | None = None

    def write_tls(self, chain: bytes, key: bytes, user: str | int) -> None:
        """Its certificate and key."""
        (self.home / "tls/cert.pem").write_bytes(chain)
        (self.home / "tls/key.pem").write_bytes(key)
        shutil.chown(self.home / "tls/key.pem", user)
        (self.home / "tls/key.pem").chmod(0o600)

    def configure(self, name: str, **values: object) -> Path:
        """Its configuration: the file of this name in `conf`, with the values for the words in at signs."""
        text = (Path(__file__).parent / "conf" / name).read_text()
        for word, value in {"HOME": self.home, "PORT": self.port, **values}.items():
            text = text.replace(f"@{word}@", str(value))
        (self.home / name).write_text(text)
        return self.home / name

    def start(self, *command: str | Path) -> None:
        """Start it; returns when the port answers."""
        with (self.home / "log/output").open("wb") as output:
            self._process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, cwd=self.home, start_new_session=True
            )
        try:
            wait_until(self._answers, f"{self.name} on port {self.port}")
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.log}") from None

    def _answers(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), 1) as connection:
                return connection.recv(4).startswith(b"220")
        except OSError:
            return False

    @property
    def log(self) -> str:
        """What it has logged."""
        return "".join(path.read_text(errors="replace") for path in sorted((self.home / "log").iterdir()))

    def copies(self) -> list[bytes]:
        """Every copy that it has delivered so far; line ends are LF."""
        return [path.read_bytes() for path in self.home.glob("mail/**/new/*")]

    def remove(self) -> None:
        """Stop it and take away what it had."""
        if self._process is not None:
            self._process.terminate()
            try:
                self._process.wait(15)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        shutil.rmtree(self.home, ignore_errors=True)


@pytest.fixture(scope="session")
def authority(tmp_path_factory):
    """A certification authority; `ca_file` is what clients are to believe."""
    trustme = pytest.importorskip("trustme")
    authority = trustme.CA()
    authority.ca_file = tmp_path_factory.mktemp("authority") / "ca.pem"
    authority.cert_pem.write_to_path(authority.ca_file)
    certificate = authority.issue_cert("127.0.0.1", key_type=trustme.KeyType.RSA)  # every server can do that
    authority.key = certificate.private_key_pem.bytes()
    authority.chain = b"".join(blob.bytes() for blob in certificate.cert_chain_pems)
    return authority


@pytest.fixture(scope="session")
def exim(authority):
    """An Exim that accepts every address."""
    program = UNPACKED / "usr/sbin/exim4"
    require(program)
    server = Daemon("exim", "Debian-exim")
    try:
        server.write_tls(authority.chain, authority.key, "Debian-exim")
        shutil.chown(server.home / "spool", "Debian-exim")
        conf = server.configure("exim.conf", PROGRAM=program)
        server.start(program, "-C", conf, "-bdf", "-q5s", "-oP", server.home / "spool/pid")
        yield server
    finally:
        server.remove()


@pytest.fixture(scope="session")
def opensmtpd(authority):
    """An OpenSMTPD that accepts every address; its spool, whose path is compiled in, is mounted for it alone."""
    program = UNPACKED / "usr/sbin/smtpd"
    require(program, Path("/usr/libexec/opensmtpd/mail.maildir"))
    server = Daemon("opensmtpd", "nobody")
    try:
        server.write_tls(authority.chain, authority.key, "root")
        (server.home / "spool").chmod(0o711)
        hashed = subprocess.run(["openssl", "passwd", "-6", "secret"], capture_output=True, text=True, check=True)
        conf = server.configure("smtpd.conf", PASSWORD=hashed.stdout.strip())
        alone = 'mount --bind "$0/spool" /var/spool/smtpd && exec "$1" -d -f "$2"'
        server.start("unshare", "--mount", "sh", "-c", alone, server.home, program, conf)
        yield server
    finally:
        server.remove()


@pytest.fixture(scope="session")
def dovecot(authority):
    """A Dovecot that takes mail by LMTP for ann, bob and full, who has room for one message; it knows passwords."""
    program = Path("/usr/sbin/dovecot")
    require(program, Path("/usr/lib/dovecot/lmtp"))
    server = Daemon("dovecot", OWNER)
    try:
        server.write_tls(authority.chain, authority.key, "root")
        server.auth_port = free_port()
        conf = server.configure("dovecot.conf", AUTH_PORT=server.auth_port)
        people = [
            f"{name}@lab.test:{{PLAIN}}secret:{OWNER}:{OWNER}::{server.home}/mail/{name}::{more}"
            for name, more in [("ann", ""), ("bob", ""), ("full", "userdb_quota_rule=*:messages=1")]
        ]
        (server.home / "people").write_text("\n".join(people) + "\n")
        server.start(program, "-F", "-c", conf)
        yield server
    finally:
        server.remove()


def require_postfix() -> None:
    """Skip the test where none can be started."""
    if os.getuid() != 0:
        pytest.skip("Postfix can only be started by root")
    if "/usr/sbin" not in os.environ["PATH"].split(":"):
        os.environ["PATH"] += ":/usr/sbin:/sbin"
    missing = [tool for tool in TOOLS if shutil.which(tool) is None]
    if missing:
        pytest.skip(f"the Debian package postfix is not installed ({', '.join(missing)})")


@pytest.fixture(scope="module")
def make_postfix():
    """Makes and starts one with lines of its own in main.cf and master.cf; "{home}" there is its folder.

    `prepare` is called with the folder before the start.
    """
    require_postfix()
    made = []

    def make(name: str, prepare, more: str = "", services: str = "") -> Postfix:
        made.append(Postfix(Path("/var/tmp") / f"mailpipe-lab-{os.getpid()}-{name}", more, services))
        prepare(made[-1].home)
        made[-1].start()
        return made[-1]

    yield make
    for server in made:
        server.remove()
        shutil.rmtree(server.home, ignore_errors=True)


@pytest.fixture(scope="session")
def until():
    """Asks until the answer is true."""
    return wait_until


@pytest.fixture
def postfix(tmp_path):
    """A running Postfix that accepts every address."""
    require_postfix()
    # a path with a blank, which Postfix' own configuration cannot name, would not do
    home = Path("/var/tmp") / f"mailpipe-lab-{os.getpid()}-{tmp_path.name}"
    server = Postfix(home)
    server.start()
    try:
        yield server
    finally:
        server.remove()
        shutil.rmtree(home, ignore_errors=True)


@pytest.fixture(scope="session")
def unused_ports():
    """Makes several different ports that nobody listens on."""

    def make(count: int) -> list[int]:
        probes = [socket.socket() for _ in range(count)]
        try:
            for probe in probes:
                probe.bind(("127.0.0.1", 0))
            return [probe.getsockname()[1] for probe in probes]
        finally:
            for probe in probes:
                probe.close()

    return make
