"""The schema accepts every pipeline file that mailpipe accepts, and refuses mistakes where they stand."""

import json
import tomllib
from pathlib import Path

import jsonschema
import pytest

TOP = Path(__file__).parents[2]
PLUGIN = '''
import mailpipe

class Options(mailpipe.Options):
    """How loud."""
    volume: int = 1
    """How loud it is."""

@mailpipe.stage()
def shout(mail: mailpipe.Mail, options: Options) -> mailpipe.Mail:
    """Shouts."""
    return mail

def register(registry):
    registry.add_stage(shout)
'''
GOOD = """
[source]
use = "mbox"
path = "a.mbox"
[[stage]]
use = "reject"
on_error = "skip"
budget = { time = "5s", memory = "100MB" }
when.any = [{ field = { name = "Subject", matches = "^x" } }, { not = { list_mail = true }, sample = 0.5 }]
[[stage]]
tee = "copies"
[[stage]]
goto = "copies"
when.attachment = true
[[stage]]
use = "re-encode"
on_error = { retry = 3, wait = "1s", goto = "copies" }
on_broken_signature = "skip"
[[route.copies.stage]]
use = "drop"
[route.copies.sink]
use = "discard"
[sink]
use = "smtp"
host = "mail.example.org"
[queue]
directory = "queue"
[check]
allow = ["reject-in-batch"]
"""


@pytest.fixture(scope="module")
def schema(tmp_path_factory):
    from mailpipe.pipeline.schema import pipeline_schema
    from mailpipe.plugins import load_registry

    schema = pipeline_schema(load_registry())
    jsonschema.Draft7Validator.check_schema(schema)
    return jsonschema.Draft7Validator(schema)


@pytest.mark.parametrize("path", sorted((TOP / "samples").rglob("*.toml")), ids=lambda path: path.name)
def test_samples_pass(schema, path):
    schema.validate(tomllib.loads(path.read_text("utf-8")))


def test_everything_that_a_file_may_say_passes(schema):
    schema.validate(tomllib.loads(GOOD))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('use = "mbox"', 'use = "mboks"'),
        ('path = "a.mbox"', "path = 5"),
        ('on_error = "skip"', 'on_error = "ignore"'),
        ('matches = "^x"', 'match = "^x"'),
        ("sample = 0.5", "sample = 5"),
        ('tee = "copies"', "label = 'neither'"),
        ('on_broken_signature = "skip"', 'on_broken_signature = "mend"'),
        ('[check]', '[chekc]'),
        ('use = "discard"', 'use = "discard"\nhost = "x"'),
    ],
)
def test_mistakes_do_not(schema, old, new):
    assert old in GOOD
    assert not schema.is_valid(tomllib.loads(GOOD.replace(old, new)))


def test_it_is_printed_with_the_plugins_beside_a_file(mailpipe, tmp_path):
    (tmp_path / "plugins").mkdir()
    (tmp_path / "plugins" / "shout.py").write_text(PLUGIN, "utf-8")
    ended = mailpipe("schema", "--pipeline", str(tmp_path / "p.toml"))
    assert ended.code == 0
    validator = jsonschema.Draft7Validator(json.loads(ended.text))
    assert validator.is_valid({"stage": [{"use": "shout", "volume": 3}]})
    assert not validator.is_valid({"stage": [{"use": "shout", "volume": "loud"}]})
    assert not jsonschema.Draft7Validator(json.loads(mailpipe("schema").text)).is_valid({"stage": [{"use": "shout"}]})
