"""What docs/plugins.md and docs/testing.md say about tests, run as it stands."""

import re
from pathlib import Path

import pytest

import mailpipe.testing

DOCS = Path(__file__).resolve().parents[2] / "docs"


def blocks_of(name: str) -> list[str]:
    return re.findall(r"^```python\n(.*?)^```$", (DOCS / name).read_text("utf-8"), re.MULTILINE | re.DOTALL)


def test_the_first_plugin_passes_its_tests(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("PYTEST_ADDOPTS", raising=False)
    blocks = blocks_of("plugins.md")
    plugin = next(block for block in blocks if block.startswith("# plugins/tag_subject.py"))
    tests = next(block for block in blocks if "StageContract" in block)
    pytester.makepyfile(tag_subject=plugin, test_it=f"from tag_subject import TagSubject\n{tests}")
    pytester.runpytest_inprocess("-q", "-p", "no:cacheprovider").assert_outcomes(passed=10)


def test_the_tests_on_the_page_pass(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("PYTEST_ADDOPTS", raising=False)
    plugin = next(block for block in blocks_of("plugins.md") if block.startswith("# plugins/tag_subject.py"))
    tests = [block for block in blocks_of("testing.md") if re.match(r"def test_\w+\(run_|def test_\w+\(build|class Test", block)]
    assert len(tests) == 3
    block_attachments = (DOCS.parent / "plugins" / "block-attachments" / "block_attachments.py").read_text()
    top = "from tag_subject import TagSubject\nfrom block_attachments import BlockAttachments\nfrom mailpipe.testing import *\n"
    pytester.makepyfile(tag_subject=plugin, block_attachments=block_attachments, test_it=top + "\n".join(tests))
    result = pytester.runpytest_inprocess("-q", "-p", "no:cacheprovider")
    outcomes = result.parseoutcomes()
    # what it declares is everything where it says nothing, and then nothing is beyond it
    assert outcomes.get("failed", 0) == 0 and outcomes["passed"] == 11, outcomes


def test_every_name_of_the_kit_is_on_the_page():
    page = (DOCS / "testing.md").read_text("utf-8")
    told = {name for name in mailpipe.testing.__all__ if re.search(rf"\b{name}\b", page)}
    assert told >= {"MessageBuilder", "MailMaker", "StageRunner", "PipelineRunner", "StageContract", "VirtualClock", "Golden", "ScriptedPeer", "Fault"}
    assert {"hostile_messages", "ordinary_messages"} <= told


@pytest.mark.parametrize("name", ["tutorial.md", "testing.md", "plugins.md", "../plugins/README.md"])
def test_links_lead_somewhere(name: str):
    page = DOCS / name
    links = re.findall(r"\]\(([^)#:]+)\)", page.read_text("utf-8"))
    assert links and not [link for link in links if not (page.parent / link).exists()]
