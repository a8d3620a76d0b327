import json
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import pytest

from mailpipe.cli.describing import default_text, type_text
from mailpipe.pipeline.component import LocalPath, Options
from mailpipe.units import ByteSize, Duration

Run = Callable[..., object]
BUILT_IN = {
    "source": {"mbox", "maildir", "eml", "stdin"},
    "stage": {"validate-headers", "decode-mime", "extract-attachments", "re-encode"},
    "sink": {"smtp", "maildir", "mbox", "eml", "stdout", "sendmail", "discard"},
}
SHOUT = '''\
from mailpipe import Mail, Options, Stage


class Shout(Stage):
    """Puts the subject in capitals."""

    name = "shout"

    class Options(Options):
        """None."""

    def process(self, mail: Mail) -> Mail:
        return mail


def register(registry):
    registry.add_stage(Shout)
'''


def test_every_built_in_component_is_listed_with_typed_options(mailpipe: Run) -> None:
    ended = mailpipe("plugins", "--json")
    document = json.loads(ended.text)
    assert (ended.code, document["version"], document["broken"]) == (0, 1, [])
    for kind, names in BUILT_IN.items():
        assert names <= {each["name"] for each in document["components"] if each["kind"] == kind}
    for component in document["components"]:
        assert component["summary"] and component["origin"]
        for option in component["options"]:
            assert option["type"] and option["meaning"], (component["name"], option["name"])
            assert "anything" not in option["type"], (component["name"], option["name"])


def test_every_condition_is_listed_with_typed_options(mailpipe: Run) -> None:
    listed = {each["name"]: each for each in json.loads(mailpipe("plugins", "--json").text)["conditions"]}
    assert {"all", "any", "not", "field", "recipient", "attachment", "sample"} <= set(listed)
    assert listed["not"]["type"] == "condition"
    assert listed["size"]["options"][0]["type"] == "size"
    for each in listed.values():
        assert each["meaning"] and "anything" not in each["type"], each["name"]
        for option in each["options"]:
            assert option["meaning"] and "anything" not in option["type"], (each["name"], option["name"])


def test_every_built_in_stage_has_an_example_and_says_what_it_touches(mailpipe: Run) -> None:
    for each in json.loads(mailpipe("plugins", "--json").text)["components"]:
        if each["kind"] == "stage" and each["origin"].startswith("mailpipe "):
            assert "use = " in each["example"], each["name"]
            may_do_anything = each["name"] == "script"
            assert (each["touches"] == "every field, body, envelope") is may_do_anything, f"{each['name']} declares nothing"


def test_the_list_shows_type_default_and_meaning(mailpipe: Run) -> None:
    out = mailpipe("plugins").text
    assert "stage extract-attachments" in out
    assert "type" in out and "default" in out and "meaning" in out


def test_one_is_shown_in_full(mailpipe: Run) -> None:
    out = mailpipe("plugins", "extract-attachments").text
    assert "[[stage]]" in out and 'use = "extract-attachments"' in out
    assert "source mbox" not in out


def test_a_name_may_stand_for_a_source_and_a_sink(mailpipe: Run) -> None:
    out = mailpipe("plugins", "mbox").text
    assert "source mbox" in out and "sink mbox" in out


def test_an_unknown_name_names_the_nearest(mailpipe: Run) -> None:
    ended = mailpipe("plugins", "extract-atachments")
    assert ended.code == 78
    assert "did you mean 'extract-attachments'?" in ended.err


def test_plugins_beside_a_pipeline_file_are_listed_with_their_origin(mailpipe: Run, folder: Path) -> None:
    (folder / "plugins").mkdir()
    (folder / "plugins" / "shout.py").write_text(SHOUT)
    ended = mailpipe("plugins", "--pipeline", "pipeline.toml", "shout", "--json")
    component = json.loads(ended.text)["components"][0]
    assert component["origin"].endswith("plugins/shout.py")
    assert mailpipe("plugins", "shout").code == 78


class Every(Options):
    """One of each."""

    size: ByteSize = ByteSize(50_000_000)
    """A size."""
    timeout: Duration = 90.0
    """A duration."""
    maybe: Duration | None = None
    """Perhaps a duration."""
    choice: Literal["7bit", "8bit"] = "7bit"
    """A choice."""
    names: tuple[str, ...] = ("a", "b")
    """Several."""
    folder: LocalPath
    """A path."""
    number: int | None = None
    """A number."""
    switch: bool = True
    """A switch."""
    table: dict[str, int] = {}
    """A table."""


@pytest.mark.parametrize(
    ("name", "words", "default"),
    [
        ("size", "size", '"50MB"'),
        ("timeout", "duration", '"1m30s"'),
        ("maybe", "duration", "none"),
        ("choice", '"7bit" | "8bit"', '"7bit"'),
        ("names", "list of text", '["a", "b"]'),
        ("folder", "path", "required"),
        ("number", "whole number", "none"),
        ("switch", "true or false", "true"),
        ("table", "table of whole number", "{}"),
    ],
)
def test_types_and_defaults_are_written_as_in_a_pipeline_file(name: str, words: str, default: str) -> None:
    from mailpipe.cli.describing import _option

    field = Every.model_fields[name]
    assert type_text(field) == words
    assert default_text(_option(name, field)) == default
