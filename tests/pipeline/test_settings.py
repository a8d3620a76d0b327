"""The pipeline file: what it says, and what is said about it when it says something wrong."""

from pathlib import Path
from typing import Literal

import pytest
from pydantic import Field, SecretStr

from mailpipe.errors import PluginError, SettingsError
from mailpipe.pipeline.component import LocalPath, Options, Sink, Source, Stage
from mailpipe.pipeline.registry import Registry
from mailpipe.pipeline.settings import load_settings, parse_settings
from mailpipe.units import ByteSize, Duration


class BoxOptions(Options):
    """Options of the source."""

    path: LocalPath
    """Where the archive lies."""


class Box(Source[BoxOptions]):
    """Reads a box."""

    name = "box"
    Options = BoxOptions

    def __iter__(self):
        return iter(())


class ExtractOptions(Options):
    """Options of the stage."""

    directory: LocalPath
    """Where the files go. It is made where it is missing."""
    types: tuple[str, ...] = ()
    """Which types."""
    replace: bool = False
    """Whether to put a note in their place."""
    size: ByteSize = ByteSize(10)
    """The least size."""


class Extract(Stage[ExtractOptions]):
    """Extracts attachments."""

    name = "extract-attachments"
    Options = ExtractOptions

    def process(self, mail):
        return mail


class PostOptions(Options):
    """Options of the sink."""

    host: str = "localhost"
    """The server."""
    port: int = Field(25, ge=1, le=65535, description="The port.")
    tls: Literal["never", "opportunistic", "required"] = "opportunistic"
    """Whether to encrypt."""
    timeout: Duration = 30.0
    """How long to wait."""
    password: SecretStr | None = None
    """The password."""


class Post(Sink[PostOptions]):
    """Posts mail."""

    name = "smtp"
    Options = PostOptions

    def deliver(self, mail):
        raise NotImplementedError


@pytest.fixture
def registry():
    registry = Registry()
    registry.add_source(Box)
    registry.add_stage(Extract)
    registry.add_sink(Post)
    return registry


GOOD = """\
[source]
use  = "box"
path = "archive.mbox"

[[stage]]
use       = "extract-attachments"
directory = "out"
size      = "2KB"

[sink]
use     = "smtp"
port    = 2525
timeout = "1m30s"
password = "opensesame"
"""


def problems(text, registry, *overrides):
    with pytest.raises(SettingsError) as caught:
        parse_settings(text, Path("some/pipe.toml"), registry, overrides)
    assert str(caught.value) == "\n".join(str(each) for each in caught.value.problems)
    return [str(each) for each in caught.value.problems]


def test_a_good_file_becomes_settings_with_its_defaults(registry):
    settings = parse_settings(GOOD, Path("/etc/mail/pipe.toml"), registry)
    assert settings.source.use == "box" and settings.source.options.path == Path("/etc/mail/archive.mbox")
    assert [(use.use, use.key) for use in settings.stages] == [("extract-attachments", "stage.1")]
    assert settings.stages[0].options.directory == Path("/etc/mail/out")
    assert settings.stages[0].options.size == 2000
    assert (settings.sink.options.port, settings.sink.options.timeout) == (2525, 90.0)
    assert (settings.run.workers, settings.run.on_stage_error) == (1, "defer")
    assert settings.journal == Path("/etc/mail/pipe.journal") and settings.name == "pipe"
    assert settings.queue is None and settings.quarantine.directory == Path("/etc/mail/quarantine")
    assert settings.limits.nesting_depth == 100 and settings.message_size is None


def test_the_other_tables_are_read(registry):
    text = GOOD + (
        '[limits]\nmessage_size = "50MB"\nheader_size = "1MB"\nnesting_depth = 7\n'
        '[run]\nworkers = 4\njournal = "run.jsonl"\non_stage_error = "quarantine"\n'
        '[queue]\ndirectory = "spool"\nretry = "1m, 5m*2"\nexpire = "2d"\n'
        '[quarantine]\ndirectory = "aside"\n'
        '[envelope]\nreverse_path = "null"\nrecipients = ["Delivered-To", "all@example.org"]\n'
    )
    settings = parse_settings(text, Path("/m/p.toml"), registry)
    assert (settings.message_size, settings.limits.header_size, settings.limits.nesting_depth) == (50_000_000, 1_000_000, 7)
    assert (settings.run.workers, settings.journal) == (4, Path("/m/run.jsonl"))
    assert (settings.queue.directory, settings.queue.expire) == (Path("/m/spool"), 172800.0)
    assert settings.quarantine.directory == Path("/m/aside")
    assert settings.envelope.reverse_path == ("null",)
    assert settings.envelope.recipients == ("delivered-to", "all@example.org")
    assert parse_settings("[run]\njournal = false\n", Path("p.toml"), registry).journal is None


def test_every_complaint_is_told_at_once_each_with_its_place(registry):
    text = (
        '[source]\nuse = "box"\n\n[[stage]]\nuse = "extract-atachments"\n\n[[stage]]\nuse = "extract-attachments"\n'
        'directory = 7\ntypes = "all"\n  replce = true\nsize = "big"\n\n[sink]\nuse = "smtp"\nport = "abc"\n'
        'tls = "requird"\ntimeout = "soon"\n\n[run]\nworkers = 0\n[sinks]\nuse = "x"\n'
    )
    assert problems(text, registry) == [
        "some/pipe.toml:1:1: source.path: missing; expected where the archive lies",
        "some/pipe.toml:5:1: stage.1.use: unknown stage 'extract-atachments', did you mean 'extract-attachments'?",
        "some/pipe.toml:9:1: stage.2.directory: found 7; expected a path in quotes",
        "some/pipe.toml:10:1: stage.2.types: found 'all'; expected a list in brackets",
        "some/pipe.toml:11:3: stage.2.replce: unknown key 'replce', did you mean 'replace'?",
        "some/pipe.toml:12:1: stage.2.size: found 'big'; expected a size such as \"50MB\"",
        "some/pipe.toml:16:1: sink.port: found 'abc'; expected a whole number",
        (
            "some/pipe.toml:17:1: sink.tls: found 'requird'; expected 'never', 'opportunistic' or 'required',"
            " did you mean 'required'?"
        ),
        "some/pipe.toml:18:1: sink.timeout: 'soon' is no duration such as '30s', '5m' or '1h30m'",
        "some/pipe.toml:21:1: run.workers: found 0; expected at least 1",
        "some/pipe.toml:22:1: sinks: unknown key 'sinks', did you mean 'sink'?",
    ]


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("[sink]\nport = 25\n", "p.toml:1:1: sink.use: 'use' is missing; expected the name of a sink: smtp"),
        ("[sink]\nuse = 1\n", "p.toml:2:1: sink.use: 'use' is not text; expected the name of a sink: smtp"),
        ("[sink]\nuse = 'zz'\n", "p.toml:2:1: sink.use: unknown sink 'zz'; expected one of smtp"),
        ("[stage]\nuse = 'x'\n", "p.toml:1:1: stage: not a list of tables; expected [[stage]] for each stage"),
        ("sink = 3\n", "p.toml:1:1: sink: not a table; expected one table [sink]"),
        ("[x]\n", "p.toml:1:1: x: unknown key 'x'; expected a table [source], [[stage]], [route], [sink], [envelope], [limits]"),
        ("[queue]\n", "p.toml:1:1: queue: give a directory or a database"),
        ("[queue]\ndirectory = 'q'\nretry = 'often'\n", "'often' is no step of a retry schedule"),
        ("[limits]\nnesting_depth = -1\n", "p.toml:2:1: limits.nesting_depth: found -1; expected at least 1"),
        ("[run]\njournal = 3\n", "p.toml:2:1: run.journal: found 3; expected a path in quotes or false"),
        ("[envelope]\nrecipients = ['to', 'not an address@']\n", "p.toml:2:21: envelope.recipients.2: 'not an address@' is no address"),
        ("[envelope]\nreverse_path = 'a b'\n", "'a b' is neither the name of a header field nor an address"),
        ("[sink\n", "p.toml:1:6: not TOML: expected ']' at the end of a table declaration"),
        ("a = \n", "p.toml:1:5: not TOML: invalid value"),
        ("a = '''", "p.toml:1:8: not TOML: expected"),
        ("a = 1\na = 2\n", "p.toml:2:6: not TOML: cannot overwrite a value"),
    ],
)  # fmt: skip
def test_each_mistake_has_its_words(registry, text, complaint):
    with pytest.raises(SettingsError) as caught:
        parse_settings(text, Path("p.toml"), registry)
    assert complaint in str(caught.value)


@pytest.mark.parametrize("value", ["7", "['opensesame']", "{ a = 'opensesame' }"])
def test_a_secret_is_never_repeated(registry, value):
    text = f"[sink]\nuse = 'smtp'\npassword = {value}\n"
    (complaint,) = problems(text, registry)
    assert "sink.password" in complaint and "opensesame" not in complaint and "7" not in complaint.partition("password")[2]
    settings = parse_settings(GOOD, Path("p.toml"), registry)
    assert "opensesame" not in str(settings.digests) + repr(settings.sink)


def test_an_override_stands_for_a_line_of_the_file(registry):
    overrides = ["sink.port=25", "stage.extract-attachments.directory=else where", "stage.1.types=['a/*']", "run.workers=2"]
    settings = parse_settings(GOOD, Path("/m/p.toml"), registry, overrides)
    assert (settings.sink.options.port, settings.run.workers) == (25, 2)
    assert settings.stages[0].options.directory == Path("/m/else where")
    assert settings.stages[0].options.types == ("a/*",)


@pytest.mark.parametrize(
    ("override", "complaint"),
    [
        ("sink.port=abc", "--set sink.port: sink.port: found 'abc'; expected a whole number"),
        ("sink.prt=1", "--set sink.prt: sink.prt: unknown key 'prt', did you mean 'port'?"),
        ("sink.port", "override 'sink.port': not of the form table.key=value"),
        ("snk.port=1", "override 'snk.port': there is no table 'snk', did you mean 'sink'?"),
        ("stage.extract.x=1", "override 'stage.extract.x': the pipeline has no stage 'extract'"),
        ("stage.9.x=1", "the pipeline has no stage '9'"),
        ("stage.x=1", "a stage has a number or a name"),
    ],
)
def test_a_wrong_override_is_told_like_a_wrong_line(registry, override, complaint):
    (told,) = problems(GOOD, registry, override)
    assert complaint in told


def test_a_file_that_cannot_be_read_is_told_in_one_line(tmp_path, registry):
    with pytest.raises(SettingsError, match=r"no\.toml: cannot read it: No such file"):
        load_settings(tmp_path / "no.toml", registry)
    with pytest.raises(SettingsError, match="cannot read it: Is a directory"):
        load_settings(tmp_path, registry)
    (tmp_path / "binary.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(SettingsError, match="it is no UTF-8 text; expected a TOML file"):
        load_settings(tmp_path / "binary.toml", registry)
    (tmp_path / "bom.toml").write_bytes(b"\xef\xbb\xbf" + GOOD.replace("\n", "\r\n").encode())
    assert load_settings(tmp_path / "bom.toml", registry).sink.options.port == 2525


def test_a_plugin_that_breaks_its_contract_is_no_settings_error(registry):
    registry.add_lazy("stage", "broken", "mailpipe.nowhere:Nothing")
    with pytest.raises(PluginError):
        parse_settings('[[stage]]\nuse = "broken"\n', Path("p.toml"), registry)


def test_the_digests_follow_what_decides_about_a_mail_and_nothing_else(registry):
    before = parse_settings(GOOD, Path("/m/p.toml"), registry).digests
    after = parse_settings(GOOD, Path("/m/p.toml"), registry, ["run.workers=8", "source.path=b", "sink.port=26"]).digests
    assert {name for name in before if before[name] != after[name]} == {"sink"}


def test_what_a_component_remembers_lies_beside_the_queue_unless_it_says_otherwise(tmp_path):
    class KeepingOptions(Options):
        """Options of a sink."""

        state_directory: LocalPath | None = None
        """Where it remembers."""
        is_forgetful: bool = False
        """Whether it does not."""

        @property
        def keeps_state(self):
            return not self.is_forgetful

    class Keeping(Sink[KeepingOptions]):
        """Remembers."""

        name = "keeping"
        Options = KeepingOptions

        def deliver(self, mail):
            raise NotImplementedError

    registry = Registry()
    registry.add_sink(Keeping)

    def place(sink="", more='[queue]\ndirectory = "spool"'):
        text = f'[sink]\nuse = "keeping"\n{sink}\n{more}\n'
        return parse_settings(text, tmp_path / "p.toml", registry).sink.options.state_directory

    assert place() == tmp_path / "spool" / "state"
    assert place('state_directory = "own"') == tmp_path / "own"
    assert place("is_forgetful = true") is None and place(more="") is None
    assert place(more='[queue]\ndatabase = "postgresql://x/y"') is None


def test_no_option_may_be_called_like_a_key_of_every_stage():
    from mailpipe.pipeline.registry import STEP_KEYS
    from mailpipe.pipeline.tables import StepSettings

    assert set(StepSettings.model_fields) <= STEP_KEYS
