"""`mailpipe new`: what it makes works as it is, and nothing that is there is touched."""

import os
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

from mailpipe.cli.new import LONGEST, Form, Kind
from mailpipe.plugins import _import_file

LONG = "a" + "-b" * ((LONGEST - 1) // 2)


def run(folder: Path, *command: str) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if name != "PYTEST_ADDOPTS"}
    return subprocess.run(
        [sys.executable, "-m", *command], cwd=folder, env=environment, capture_output=True, text=True, timeout=110
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "kind"),
    [("tag-subject", Kind.STAGE), ("tag2", Kind.FUNCTION), ("a-spool", Kind.SOURCE), (LONG, Kind.SINK)],
    ids=lambda value: value.value if isinstance(value, Kind) else None,
)
def test_what_it_makes_passes_its_tests_and_the_linters_at_once(mailpipe: Any, folder: Path, name: str, kind: Kind) -> None:
    ended = mailpipe("new", "plugin", name, "--kind", kind.value)
    assert ended.code == 0, ended.err
    made = folder / name
    commands = [("pytest", "-q", "-p", "no:cacheprovider"), ("ruff", "check", "--no-cache", "."), ("mypy", "--cache-dir", os.devnull)]
    if name != LONG:
        commands.append(("ruff", "format", "--check", "--diff", "--no-cache", "."))
    for command in commands:
        done = run(made, *command)
        assert done.returncode == 0, f"{command[0]}: {done.stdout}{done.stderr}"


@pytest.mark.parametrize("kind", Kind)
def test_a_plugin_has_all_that_a_package_needs(mailpipe: Any, folder: Path, kind: Kind) -> None:
    ended = mailpipe("new", "plugin", "tide-table", "-k", kind.value, "-d", "made here")
    assert ended.code == 0, ended.err
    assert ended.text.splitlines()[:3] == ["made made here/tide-table, 7 files", "next:", "    cd 'made here/tide-table'"]
    made = folder / "made here" / "tide-table"
    files = sorted(path.relative_to(made).as_posix() for path in made.rglob("*") if path.is_file())
    assert files == [
        ".gitignore", "README.md", "pyproject.toml", "samples/message.eml", "tests/test_tide_table.py",
        "tide_table/__init__.py", "tide_table/py.typed",
    ]  # fmt: skip
    project = tomllib.loads((made / "pyproject.toml").read_text())
    assert project["project"]["entry-points"]["mailpipe.plugins"] == {"tide-table": "tide_table"}
    for path in made.rglob("*"):
        assert path.is_dir() or "$" not in path.read_text(), path

    from mailpipe.pipeline.registry import Registry

    registry = Registry()
    _import_file(made / "tide_table" / "__init__.py").register(registry)
    entry = registry.entries()[0]
    assert (entry.kind, entry.name) == ("stage" if kind is Kind.FUNCTION else kind.value, "tide-table")
    options = [f"| `{name}` |" for name in entry.options.model_fields]
    readme = (made / "README.md").read_text()
    assert all(option in readme for option in options)


@pytest.mark.parametrize("form", Form)
def test_a_pipeline_file_is_good(mailpipe: Any, folder: Path, form: Form) -> None:
    ended = mailpipe("new", "pipeline", "letters", "--template", form.value)
    assert ended.code == 0, ended.err
    assert mailpipe("check", "letters.toml").code == 0
    text = (folder / "letters.toml").read_text()
    assert text.startswith("# letters: ") and "$" not in text
    assert max(map(len, text.splitlines())) <= 120
    commands = [line.strip() for line in ended.text.splitlines()[2:]]
    assert commands[0] == "mailpipe check letters.toml" and len(commands) == 2


@pytest.mark.parametrize("form", [Form.MINIMAL, Form.BATCH, Form.ARCHIVE])
def test_a_pipeline_file_runs(mailpipe: Any, folder: Path, form: Form) -> None:
    mailpipe("new", "pipeline", "letters", "--template", form.value)
    ended = mailpipe("run", "letters.toml", "--json")
    assert ended.code == 0, ended.err


def test_the_filter_runs(mailpipe: Any, folder: Path) -> None:
    mailpipe("new", "pipeline", "letters", "-t", "filter")
    octets = (folder / "message.eml").read_bytes()
    ended = mailpipe("filter", "letters.toml", "--stdout", octets=octets)
    assert (ended.code, ended.out) == (0, octets)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("TagSubject", "such as 'tag-subject'"),
        ("tag_subject", "such as 'tag-subject'"),
        ("../tag", "such as 'tag'"),
        ("9lives", "such as 'lives'"),
        ("", "such as 'tag-subject'"),
        ("a" * (LONGEST + 1), f"at most {LONGEST} characters"),
        ("email", "module 'email'"),
        ("class", "module 'class'"),
        ("mailpipe", "module 'mailpipe'"),
        ("re-encode", "there is a stage 're-encode' already, from mailpipe"),
    ],
)
def test_a_name_that_cannot_be_is_told_with_one_that_can(mailpipe: Any, folder: Path, name: str, words: str) -> None:
    before = sorted(folder.iterdir())
    ended = mailpipe("new", "plugin", name)
    assert ended.code == 64 and words in ended.err, ended.err
    assert sorted(folder.iterdir()) == before


def test_nothing_is_written_over(mailpipe: Any, folder: Path) -> None:
    (folder / "tides").mkdir()
    (folder / "tides" / "mine.txt").write_text("mine")
    ended = mailpipe("new", "plugin", "tides")
    assert ended.code == 73 and "is there already" in ended.err
    assert [path.name for path in (folder / "tides").iterdir()] == ["mine.txt"]
    text = (folder / "pipeline.toml").read_text()
    ended = mailpipe("new", "pipeline", "pipeline")
    assert ended.code == 73 and "was not touched" in ended.err
    assert (folder / "pipeline.toml").read_text() == text


def test_a_folder_that_cannot_be_made_is_told(mailpipe: Any, folder: Path) -> None:
    ended = mailpipe("new", "plugin", "tides", "-d", "message.eml")
    assert ended.code == 73 and "message.eml/tides" in ended.err


def test_the_templates_are_in_the_package() -> None:
    from importlib import resources

    names = {path.name for room in ("plugin", "pipeline") for path in (resources.files("mailpipe.cli") / "templates" / room).iterdir()}
    assert {f"{form.value}.toml.tmpl" for form in Form} <= names
    assert {f"{kind.value}{end}.py.tmpl" for kind in Kind for end in ("", "_test")} <= names
