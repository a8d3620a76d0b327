"""What the tests of file sinks share: a mail of any octets, and a place that cannot be written to."""

from collections.abc import Callable
from pathlib import Path

import pytest

from mailpipe import parse
from mailpipe.pipeline.mail import Mail, Origin
from mailpipe.smtp.envelope import Envelope

MakeMail = Callable[..., Mail]


@pytest.fixture(scope="session")
def make_mail() -> MakeMail:
    """A mail of the given octets, from Ann to Bob unless told otherwise."""

    def make(octets: bytes = b"Subject: a\n\nx\n", *recipients: str, sender: str = "ann@example.org") -> Mail:
        envelope = Envelope.of(sender, *(recipients or ("bob@example.net",)))
        return Mail(parse(octets), envelope, Origin("eml", "test.eml", 0, len(octets)))

    return make


@pytest.fixture
def full_disk_script() -> str:
    """A script for a child process whose files may not grow beyond 4096 octets: argv is sink, option, path.

    It delivers a mail that fits and one that does not, and prints what became of the second.
    """
    return (
        "import errno, importlib, resource, signal, sys\n"
        "from mailpipe import parse\n"
        "from mailpipe.errors import OutputError\n"
        "from mailpipe.pipeline.mail import Mail, Origin\n"
        "from mailpipe.smtp.envelope import Envelope\n"
        "module, name, option, path = sys.argv[1:]\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "component = getattr(importlib.import_module(module), name)\n"
        "sink = component(component.Options.model_validate({option: path}))\n"
        "sink.open()\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))\n"
        "mail = lambda octets: Mail(parse(octets), Envelope.of('a@b', 'c@d'), Origin('eml', 'x'))\n"
        "sink.deliver(mail(b'A: 1\\n\\nsmall\\n'))\n"
        "try: sink.deliver(mail(b'A: 2\\n\\n' + b'large\\n' * 5000))\n"
        "except OutputError as error: print('refused', error)\n"
        "sink.close()\n"
    )


@pytest.fixture
def blocked(tmp_path: Path) -> Path:
    """A path that nobody can make anything at, root included: its parent is a file."""
    (tmp_path / "file").touch()
    return tmp_path / "file" / "place"
