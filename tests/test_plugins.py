"""Where components come from, and what is said of plugins that are broken."""

import pickle
import subprocess
import sys
from importlib import metadata

import pytest

from mailpipe import plugins
from mailpipe.errors import PluginError, UnknownComponent
from mailpipe.plugins import load_registry, plugin_files

PLUGIN = '''
"""A plugin in one file."""

import mailpipe


class Shout(mailpipe.Stage):
    """Puts the subject in capitals."""

    name = "shout"

    class Options(mailpipe.Options):
        """How."""

        mark: str = "!"
        """What to put behind it."""

    def process(self, mail):
        text = (mail.message.subject or "").upper() + self.options.mark
        return mail.with_message(mail.message.with_header(mail.message.header.with_field("Subject", text)))


def register(registry):
    registry.add_stage(Shout)
'''


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "plugins").mkdir()
    return tmp_path


def write(folder, text, name="shout.py"):
    path = folder / "plugins" / name
    path.write_text(text)
    return path


def test_the_built_in_components_come_through_the_door():
    registry = load_registry()
    assert {"mbox", "maildir", "eml", "stdin"} <= set(registry.names("source"))
    assert {"smtp", "lmtp", "maildir", "mbox", "eml", "stdout", "sendmail", "discard"} <= set(registry.names("sink"))
    expected = {"validate-headers", "decode-mime", "extract-attachments", "re-encode"}
    assert expected <= set(registry.names("stage"))
    for entry in registry.entries():
        assert entry.origin.startswith("mailpipe"), entry


def test_the_bundled_ones_are_there_without_installed_metadata(monkeypatch):
    monkeypatch.setattr(metadata, "entry_points", lambda group: [])
    assert "mbox" in load_registry().names("source")


def test_a_file_in_the_folder_is_a_plugin(folder):
    path = write(folder, PLUGIN)
    registry = load_registry(folder)
    entry = registry.entry("stage", "shout")
    assert (entry.origin, entry.summary) == (str(path), "Puts the subject in capitals.")
    assert entry.options.model_fields["mark"].description == "What to put behind it."
    with pytest.raises(UnknownComponent):
        load_registry(folder / "plugins").stage("shout")


def test_two_folders_may_hold_plugins_of_the_same_name(folder, tmp_path):
    other = tmp_path / "other"
    (other / "plugins").mkdir(parents=True)
    write(folder, PLUGIN)
    write(other, PLUGIN.replace('"!"', '"?"'))
    one, two = load_registry(folder).stage("shout"), load_registry(other).stage("shout")
    assert (one.Options().mark, two.Options().mark) == ("!", "?")


def test_options_of_a_plugin_travel_to_another_process(folder):
    write(folder, PLUGIN)
    options = load_registry(folder).stage("shout").Options(mark="?")
    assert pickle.loads(pickle.dumps(options)) == options


def test_some_names_are_no_plugins(folder):
    for name in ("_inner.py", ".hidden.py", "test_shout.py", "conftest.py", "notes.txt"):
        write(folder, "raise RuntimeError", name)
    (folder / "plugins" / "package.py").mkdir()
    assert plugin_files(folder) == []
    load_registry(folder)
    assert plugin_files(folder / "nowhere") == []
    (folder / "nowhere").mkdir()
    (folder / "nowhere" / "plugins").write_text("a file")
    assert plugin_files(folder / "nowhere") == []


def test_a_folder_of_plugins_that_cannot_be_read_is_told(folder, monkeypatch):
    def deny(path):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("os.scandir", deny)
    with pytest.raises(PluginError, match="plugins: the folder cannot be read: Permission denied"):
        load_registry(folder)


@pytest.mark.parametrize(
    ("text", "line", "reason"),
    [
        ("x = 1\nimport nothing_of_that_name\n", 2, "ModuleNotFoundError: No module named 'nothing_of_that_name'"),
        ("x = 1\n\nx = = 2\n", 3, "SyntaxError: invalid syntax"),
        ("def register(registry):\n    return 1 / 0\n", 2, "ZeroDivisionError: division by zero"),
        ("import sys\nsys.exit(3)\n", 2, "SystemExit: 3"),
        ("def register():\n    pass\n", None, "TypeError: register() takes 0 positional arguments but 1 was given"),
        ("x = 1\n", None, "it has no function register(registry)"),
        (PLUGIN.replace('"shout"', '"Shout"'), None, "a name is lower-case words"),
        (PLUGIN.replace('"shout"', '"re-encode"'), None, ""),
        (PLUGIN.replace("(self, mail)", "(self)"), None, "process is called as process(self, mail)"),
    ],
)
def test_a_broken_plugin_is_named_with_its_file_and_line(folder, text, line, reason):
    path = write(folder, text)
    with pytest.raises(PluginError) as caught:
        load_registry(folder)
    assert str(path) in caught.value.origin and reason in caught.value.reason
    if line:
        assert caught.value.origin == f"{path}:{line}"
    assert not [name for name in sys.modules if name.startswith("mailpipe_plugin_broken")]


class Point:
    """An entry point that counts how often it was loaded."""

    name, group, dist = "theirs", plugins.GROUP, None

    def __init__(self, value, module):
        self.value, self.module, self.loads = value, module, 0

    def load(self):
        self.loads += 1
        if isinstance(self.module, Exception):
            raise self.module
        return self.module


def test_installed_plugins_are_asked_only_when_a_name_is_missing(monkeypatch):
    broken = Point("theirs.plugin", ImportError("no module named numpy"))
    monkeypatch.setattr(metadata, "entry_points", lambda group: [broken])
    registry = load_registry()
    assert registry.source("mbox").name == "mbox" and broken.loads == 0
    with pytest.raises(PluginError, match=r"theirs.*no module named numpy"):
        registry.stage("not-here")
    wrong = Point("theirs.plugin:thing", lambda registry: None)
    monkeypatch.setattr(metadata, "entry_points", lambda group: [wrong])
    with pytest.raises(PluginError, match="must name a module"):
        load_registry().load_all()


def test_loading_the_registry_imports_no_component():
    code = """
import sys
from mailpipe.plugins import load_registry
load_registry()
rooms = ("mailpipe.sinks.", "mailpipe.stages.", "mailpipe.sources.")
print(sorted(name for name in sys.modules if name.startswith(rooms)))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
