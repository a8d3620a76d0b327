"""The plugins that people copy: each loads as a file and as a package, and keeps the contract of a stage."""

import importlib
import json
import os
import re
import shutil
import site
import subprocess
import sys
import venv
from pathlib import Path

import pytest

from mailpipe.plugins import load_registry
from mailpipe.testing import StageContract

TOP = Path(__file__).resolve().parent.parent
FOLDERS = sorted(path.parent for path in (TOP / "plugins").glob("*/pyproject.toml"))
NAMES = [folder.name for folder in FOLDERS]


def test_there_are_five():
    assert NAMES == ["block-attachments", "invoice-filer", "language-tagger", "privacy-redactor", "ticket-router"]


@pytest.mark.parametrize("folder", FOLDERS, ids=NAMES)
def test_one_file_in_the_folder_of_a_pipeline_is_enough(folder: Path, tmp_path: Path):
    (tmp_path / "plugins").mkdir()
    file = folder / f"{folder.name.replace('-', '_')}.py"
    shutil.copy(file, tmp_path / "plugins")
    entry = load_registry(tmp_path).entry("stage", folder.name)
    assert entry.origin == str(tmp_path / "plugins" / file.name)
    readme = (folder / "README.md").read_text()
    missing = [name for name in entry.options.model_fields if f"| `{name}` |" not in readme]
    assert not missing, f"not in the table of the README: {missing}"
    rows = set(re.findall(r"^\| `(\w+)` \|", readme, re.MULTILINE))
    assert rows == set(entry.options.model_fields)


@pytest.mark.parametrize("folder", FOLDERS, ids=NAMES)
def test_its_own_tests_hold_it_to_the_contract_of_a_stage(folder: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.syspath_prepend(str(folder))
    module = importlib.import_module(f"test_{folder.name.replace('-', '_')}")
    kept = [each for each in vars(module).values() if isinstance(each, type) and issubclass(each, StageContract)]
    assert any(each.__name__.startswith("Test") and each.stage.name == folder.name for each in kept)


@pytest.mark.slow
def test_installed_packages_are_shown_with_their_options(tmp_path: Path):
    pytest.importorskip("hatchling")
    venv.create(tmp_path / "venv", with_pip=False, symlinks=True)
    python = tmp_path / "venv" / "bin" / "python"
    # the new environment sees what this one has, in place of the network
    lines = [f"import site; site.addsitedir({place!r})\n" for place in site.getsitepackages()]
    own = next((tmp_path / "venv").glob("lib/python*/site-packages"))
    (own / "outer.pth").write_text("".join([*lines, f"{TOP}\n"]))
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PIP_", "PYTHON"))}
    for folder in FOLDERS:
        shutil.copytree(folder, tmp_path / "plugins" / folder.name, ignore=shutil.ignore_patterns("__pycache__"))
    command = [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet", "--disable-pip-version-check"]
    command += ["--no-deps", "--no-build-isolation", "--no-index", *(str(tmp_path / "plugins" / name) for name in NAMES)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stdout + done.stderr
    command = [str(python), "-m", "mailpipe", "plugins", "--json"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    found = {each["name"]: each for each in told["components"]}
    for name in NAMES:
        assert found[name]["origin"] == f"mailpipe-{name} 0.1.0", found[name]
        assert all(option["meaning"] and option["type"] for option in found[name]["options"]), found[name]
