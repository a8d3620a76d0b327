"""The static check: each finding has its code, its place and a remedy, and what is right has none."""

import re
from dataclasses import dataclass
from pathlib import Path

import pytest

import mailpipe
from mailpipe import Access, Mail
from mailpipe.pipeline.checking import CODES, findings_of
from mailpipe.pipeline.settings import parse_settings
from mailpipe.plugins import load_registry


@dataclass(frozen=True)
class Score:
    """A note."""

    value: float


@mailpipe.stage(touches=Access(notes=(Score,)))
def score(mail: Mail) -> Mail:
    """Scores."""
    return mail.with_note(Score(1.0))


@mailpipe.stage(reads=Access(notes=(Score,)), touches=Access(fields=("X-Score",)))
def show_score(mail: Mail) -> Mail:
    """Shows the score."""
    return mail


class Sign(mailpipe.Stage):
    """Signs."""

    name = "sign"
    signs = True
    touches = Access(fields=("DKIM-Signature",))

    def process(self, mail):
        return mail


@mailpipe.stage(touches=Access(), is_parallel=False)
def count_all(mail: Mail) -> Mail:
    """Counts."""
    return mail


@pytest.fixture
def check():
    registry = load_registry()
    for each in (score, show_score, Sign, count_all):
        registry.add_stage(each)

    def run(text):
        return findings_of(parse_settings(text, Path("p.toml"), registry), registry)

    return run


@pytest.mark.parametrize(
    ("text", "code", "place", "words"),
    [
        (
            '[[stage]]\nuse = "reject"\n[[stage]]\nuse = "score"\n',
            "unreachable-stage", "p.toml:3:1", "no mail comes to 'score': 'reject' ends the way of every mail",
        ),
        (
            '[[stage]]\ngoto = "a"\n[[stage]]\nuse = "score"\n[[route.a.stage]]\nuse = "drop"\n',
            "unreachable-stage", "p.toml:3:1", "every mail takes the route 'a'",
        ),
        ('[[route.a.stage]]\nuse = "drop"\n', "unreachable-route", "p.toml:1:1", "nothing leads into the route 'a'"),
        (
            '[[stage]]\nuse = "sign"\n[[stage]]\nuse = "re-encode"\n',
            "edit-after-signing", "p.toml:3:1", "'re-encode' may change what 'sign' has signed (every field, body",
        ),
        (
            '[[stage]]\nuse = "sign"\n[[stage]]\ntee = "a"\n[[route.a.stage]]\nuse = "re-encode"\n',
            "edit-after-signing", "p.toml:5:1", "what 'sign' has signed",
        ),
        (
            '[source]\nuse = "mbox"\npath = "x"\n[[stage]]\nuse = "validate-headers"\nsingle_fields = "reject"\n',
            "reject-in-batch", "p.toml:4:1", "may reject mail that comes from an archive",
        ),
        (
            '[[stage]]\nuse = "show-score"\n[[stage]]\nuse = "score"\n',
            "note-read-before-written", "p.toml:1:1", "asks for the note Score, which no earlier stage leaves",
        ),
        (
            '[[stage]]\nuse = "score"\n[[stage]]\nuse = "drop"\nwhen.note = { name = "scores.value", above = 5 }\n',
            "note-read-before-written", "p.toml:5:1", "did you mean 'score'?",
        ),
        (
            '[[stage]]\nuse = "drop"\nwhen.not = { any = [{ spf = "pass" }] }\n',
            "note-read-before-written", "p.toml:3:1", 'the result of spf, which no earlier stage checks [note-read-',
        ),
        ('[run]\nworkers = 4\n[[stage]]\nuse = "count-all"\n', "not-parallel", "p.toml:3:1", "set [run] workers = 1"),
        ('[[stage]]\nuse = "drop"\nwhen.sample = 0\n', "never-met", "p.toml:3:1", "sample = 0 holds for no mail"),
        ('[check]\nallow = ["reject-in-bach"]\n', "unknown-code", "p.toml:2:1", "did you mean 'reject-in-batch'?"),
    ],
)  # fmt: skip
def test_each_finding_has_its_place_and_remedy(check, text, code, place, words):
    (finding,) = check(text)
    assert (finding.code, finding.place) == (code, place)
    assert words in str(finding)
    assert finding.remedy


def test_every_code_has_a_test_here():
    source = Path(__file__).read_text("utf-8")
    assert [code for code in CODES if f'"{code}", "p.toml' not in source] == []


@pytest.mark.parametrize(
    "text",
    [
        '[[stage]]\nuse = "reject"\nwhen.list_mail = true\n[[stage]]\nuse = "score"\n',
        '[[stage]]\nuse = "score"\n[[stage]]\nuse = "show-score"\nwhen.note = { name = "score.value", above = 5 }\n',
        '[[stage]]\nuse = "re-encode"\n[[stage]]\nuse = "sign"\n',
        '[[stage]]\nuse = "sign"\n[[stage]]\nuse = "re-encode"\non_broken_signature = "skip"\n',
        '[[stage]]\nuse = "sign"\n[[stage]]\nuse = "sign"\n',
        '[source]\nuse = "mbox"\npath = "x"\n[[stage]]\nuse = "reject"\n[check]\nallow = ["reject-in-batch"]\n',
        # the score is known on the one way that leads into the route
        '[[stage]]\nuse = "score"\n[[stage]]\ngoto = "a"\n[[route.a.stage]]\nuse = "show-score"\n',
    ],
)
def test_what_is_right_has_no_finding(check, text):
    assert check(text) == []


def test_a_route_knows_only_what_all_that_lead_there_know(check):
    text = (
        '[[stage]]\ngoto = "a"\nwhen.list_mail = true\n[[stage]]\nuse = "score"\n[[stage]]\ngoto = "a"\n'
        '[[route.a.stage]]\nuse = "show-score"\n'
    )
    assert [finding.code for finding in check(text)] == ["note-read-before-written"]


def test_every_code_is_documented():
    text = (Path(__file__).parents[2] / "docs/rules-and-routes.md").read_text("utf-8")
    assert [code for code, meaning in CODES.items() if f"`{code}` | {meaning.replace('[check] allow', '`[check] allow`')} |" not in text] == []


DOCUMENTS = Path(__file__).parents[2] / "docs"


@pytest.mark.parametrize("name", ["rules-and-routes.md", "signed-mail.md", "authentication.md"])
def test_the_examples_of_the_documentation_are_right(tmp_path, name):
    (tmp_path / "blocked.txt").write_text("spam@example.org\n", "utf-8")
    text = (DOCUMENTS / name).read_text("utf-8")
    blocks = re.findall(r"(?ms)^```toml\n(.*?)^```", text)
    assert len(blocks) >= 2
    registry = load_registry()
    for block in blocks:
        # a route that another example defines
        named = set(re.findall(r'goto = "([a-z]+)"', block)) - set(re.findall(r"route\.([a-z]+)", block))
        whole = block + "".join(f'\n[[route.{each}.stage]]\nuse = "drop"\n' for each in sorted(named))
        parse_settings(whole, tmp_path / "p.toml", registry)
