"""Every sample runs, and every example in the documentation does what it says."""

import hashlib
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import mailpipe
from mailpipe.archive import mbox

TOP = Path(__file__).resolve().parents[1]
SAMPLES = TOP / "samples"
LETTERS = 61
ENVIRONMENT = os.environ | {"PYTHONPATH": str(TOP)}


def _mailpipe(*arguments, cwd=TOP, **more):
    command = [sys.executable, "-m", "mailpipe", *map(str, arguments)]
    return subprocess.run(command, cwd=cwd, capture_output=True, timeout=100, env=ENVIRONMENT, **more)


@pytest.fixture
def samples(tmp_path):
    """A copy of the samples, in a folder with a blank in its name."""
    folder = tmp_path / "the samples"
    shutil.copytree(SAMPLES, folder, ignore=shutil.ignore_patterns("store", "queue", "attachments", "quarantine"))
    return folder


def _code_blocks(document: str, language: str) -> list[str]:
    return re.findall(rf"(?ms)^```{language}\n(.*?)^```$", (TOP / document).read_text(encoding="utf-8"))


def _archive() -> list[bytes]:
    octets = (SAMPLES / "archive.mbox").read_bytes()
    return [octets[span.begin : span.end] for span in mbox.split(octets, "auto")]


def test_the_archive_is_what_its_script_writes(tmp_path):
    script = SAMPLES / "scripts" / "make_archive.py"
    subprocess.run([sys.executable, str(script), str(tmp_path)], check=True, capture_output=True)
    written = sorted(path.relative_to(tmp_path) for path in tmp_path.rglob("*") if path.is_file())
    assert len(written) > 10
    for path in written:
        assert (tmp_path / path).read_bytes() == (SAMPLES / path).read_bytes(), path


def test_every_letter_comes_back_octet_for_octet():
    letters = _archive()
    assert len(letters) == LETTERS
    for octets in letters:
        assert bytes(mailpipe.parse(octets)) == octets


def test_every_single_letter_comes_back_octet_for_octet():
    for path in (SAMPLES / "mail").glob("*.eml"):
        assert bytes(mailpipe.parse(path.read_bytes())) == path.read_bytes(), path.name


def test_every_address_lies_under_a_reserved_name():
    text = (SAMPLES / "archive.mbox").read_bytes().decode("utf-8", "replace")
    domains = set(re.findall(r"[\w.+-]@([\w-]+(?:\.[\w-]+)+)", text))
    allowed = re.compile(r"(?:.+\.)?example\.(?:org|net|com)|.+\.test")
    assert not {domain for domain in domains if not allowed.fullmatch(domain.rstrip("."))}


@pytest.mark.parametrize("name", ["quickstart.toml", *(f"pipelines/{p.name}" for p in (SAMPLES / "pipelines").iterdir())])
def test_every_pipeline_file_is_right(name):
    result = _mailpipe("check", SAMPLES / name)
    assert result.returncode == 0, result.stderr.decode()


def test_the_quickstart_runs_dry(samples):
    result = _mailpipe("run", samples / "quickstart.toml", "--dry-run", "--json")
    assert result.returncode == 0, result.stderr.decode()
    report = json.loads(result.stdout)
    assert report["entered"] == LETTERS
    assert sum(report["endings"].values()) == report["entered"] + report["emitted"]


def test_the_batch_fills_a_maildir_once(samples):
    for _ in range(2):
        result = _mailpipe("run", samples / "pipelines/archive-batch.toml", "--json")
        assert result.returncode == 0, result.stderr.decode()
    maildir = samples / "pipelines/store/maildir"
    kept = [path for box in ("new", "cur") for path in (maildir / box).iterdir()]
    aside = list((samples / "pipelines/quarantine").rglob("*.eml"))
    assert len(kept) + len(aside) == LETTERS


def test_the_store_holds_each_attachment_once(samples):
    result = _mailpipe("run", samples / "pipelines/extract-attachments.toml", "--json")
    assert result.returncode == 0, result.stderr.decode()
    report = json.loads(result.stdout)
    files = [p for p in (samples / "pipelines/store/attachments").rglob("*") if p.is_file() and p.suffix != ".jsonl"]
    assert report["attachments"] > 20
    contents = [path.read_bytes() for path in files]
    assert len(files) < report["attachments"]
    for path, content in zip(files, contents, strict=True):
        assert path.name.startswith(hashlib.sha256(content).hexdigest())
    assert any(content.startswith(b"%PDF-1.4") for content in contents)
    names = [path.name for path in samples.parent.rglob("*")]
    assert "harbour" not in names, "a file name with ../ was believed"
    assert not [name for name in names if "\u202e" in name or name == ".htaccess"]


def test_the_filter_gives_a_letter_back(samples):
    arguments = ("--stdout", "-f", "ada@example.org", "--", "bruno@example.net")
    octets = (SAMPLES / "mail/plain-ascii.eml").read_bytes()
    result = _mailpipe("filter", samples / "pipelines/content-filter.toml", *arguments, input=octets)
    assert result.returncode == 0, result.stderr.decode()
    assert b"the key hangs behind the barometer" in result.stdout


def test_the_demo_ends_well_and_twice_the_same(tmp_path):
    counts, kept = [], []
    for _ in range(2):
        folder = tmp_path / "a demo"
        command = [sys.executable, str(SAMPLES / "scripts/demo.py"), str(folder)]
        result = subprocess.run(command, cwd=TOP, capture_output=True, text=True, timeout=100)
        assert result.returncode == 0, result.stdout + result.stderr
        # several are under way at a time, in no order
        kept.append(sorted(path.read_bytes() for path in (folder / "accepted/new").iterdir()))
        counts.append(sorted(p.name for p in (folder / "attachments").rglob("*") if p.is_file()))
    assert len(kept[0]) > 50
    assert kept[0] == kept[1]
    assert counts[0] == counts[1]


@pytest.mark.parametrize(("document", "use"), [("README.md", "no-programs"), ("docs/plugins.md", "tag-subject")])
def test_the_plugin_in_the_documentation_works(tmp_path, document, use):
    plugin = next(block for block in _code_blocks(document, "python") if "def register" in block)
    (tmp_path / "plugins").mkdir()
    (tmp_path / "plugins" / "example.py").write_text(plugin, encoding="utf-8")
    (tmp_path / "pipeline.toml").write_text(f'[[stage]]\nuse = "{use}"\n[sink]\nuse = "discard"\n')
    arguments = ("--stdout", "-f", "a@example.org", "--", "b@example.net")
    letter = b"Subject: x\r\nContent-Disposition: attachment; filename=%s\r\n\r\nhi\r\n"
    harmless = _mailpipe("filter", "pipeline.toml", *arguments, cwd=tmp_path, input=letter % b"a.txt")
    assert harmless.returncode == 0, harmless.stderr.decode()
    if use == "no-programs":
        assert harmless.stdout == letter % b"a.txt"
        program = _mailpipe("filter", "pipeline.toml", *arguments, cwd=tmp_path, input=letter % b"A.EXE")
        assert program.returncode == 77, program.stderr.decode()
        assert program.stderr.startswith(b"5.7.1 no programs, please")
    else:
        assert b"Subject: [list] x" in harmless.stdout
        described = _mailpipe("plugins", "--pipeline", "pipeline.toml", cwd=tmp_path)
        assert described.returncode == 0, described.stderr
        assert b"tag-subject" in described.stdout
        assert b"it is not put there twice" in described.stdout


def test_the_plugin_in_the_readme_has_at_most_fifteen_lines_of_code():
    plugin = next(block for block in _code_blocks("README.md", "python") if "def register" in block)
    lines = [line for line in plugin.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    assert len(lines) <= 15


def test_the_library_example_of_the_readme_runs(capsys):
    example = next(block for block in _code_blocks("README.md", "python") if "mailpipe.parse" in block)
    exec(compile(example, "README.md", "exec"), {})
    printed = capsys.readouterr().out
    assert "Grüße Hello!" in printed
    assert "=?utf-8?" in printed.lower()


@pytest.mark.parametrize("document", sorted(p.relative_to(TOP).as_posix() for p in TOP.glob("docs/*.md")))
def test_every_toml_example_of_the_documentation_can_be_read(document):
    for block in _code_blocks(document, "toml"):
        tomllib.loads(block)


def test_every_link_of_the_documentation_leads_somewhere():
    documents = [*TOP.glob("*.md"), *TOP.glob("docs/*.md"), *TOP.glob("plugins/**/*.md"), *TOP.glob("samples/*.md")]
    documents.append(TOP / "mailpipe/ARCHITECTURE.md")
    for document in documents:
        for target in re.findall(r"\]\(([^)#]+)\)", document.read_text(encoding="utf-8")):
            if "://" not in target:
                assert (document.parent / target).exists(), f"{document.relative_to(TOP)}: {target}"


@pytest.mark.parametrize("folder", sorted(path.name for path in (TOP / "plugins").iterdir() if path.is_dir()))
def test_every_plugin_folder_loads_and_passes_its_own_tests(folder):
    module = TOP / "plugins" / folder / f"{folder.replace('-', '_')}.py"
    spec = importlib.util.spec_from_file_location(module.stem, module)
    loaded = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loaded)
    assert callable(loaded.register)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(module.parent)]
    result = subprocess.run(command, cwd=TOP, capture_output=True, text=True, timeout=100)
    assert result.returncode == 0, result.stdout


@pytest.mark.parametrize("name", ["components", "conditions"])
def test_the_reference_is_what_the_components_say_themselves(name):
    command = [sys.executable, str(TOP / ".ci/components.py"), name]
    result = subprocess.run(command, cwd=TOP, capture_output=True, check=True)
    assert result.stdout.decode() == (TOP / f"docs/{name}.md").read_text(encoding="utf-8"), "run `make docs`"


def test_the_documentation_of_the_pipeline_file_names_every_key():
    from mailpipe.pipeline import tables as settings

    text = (TOP / "docs/pipeline-file.md").read_text(encoding="utf-8")
    models = (settings.EnvelopeRule, settings.RunSettings, settings.QueueSettings, settings.QuarantineSettings,
              settings.CheckSettings, settings.StepSettings, settings.ErrorPolicy, settings.BudgetSettings)
    for model in (*models, settings.LimitSettings):
        for key in model.model_fields:
            assert f"`{key}`" in text, key


def test_the_documentation_of_exit_codes_names_every_code():
    from mailpipe.cli.exit import CODES

    text = (TOP / "docs/exit-codes.md").read_text(encoding="utf-8")
    assert all(f"\n| {code} |" in text for code in CODES)
