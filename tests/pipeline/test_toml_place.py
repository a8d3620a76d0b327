"""Places of keys: every path that the parser knows has one, and it is where the key stands."""

import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailpipe.pipeline.toml_place import places_of

TEXT = '''# a comment with [brackets] and = signs
[source]
use = "mbox" # x = 1
path = 'a]b'
"quoted key".x = 1

[[stage]]
use="a"
list = [1, "x,]", [2, 3], {a = 1, b = "}"}]
long = """
[not a table]
k = 1 ""
"""
  [[stage]]
  use = "b"
  [stage.sub]
  z = 2020-01-01T00:00:00Z
[sink]
port = 25
literal = \'\'\'
x = "
\'\'\'
last = true'''


def paths(value, path=()):
    if isinstance(value, dict):
        for key, inner in value.items():
            yield (*path, key)
            yield from paths(inner, (*path, key))
    elif isinstance(value, list):
        for number, inner in enumerate(value):
            yield (*path, number)
            yield from paths(inner, (*path, number))


def test_every_path_has_its_place():
    places = places_of(TEXT)
    assert set(paths(tomllib.loads(TEXT))) == set(places)
    lines = TEXT.split("\n")
    for path, (line, column) in places.items():
        here = lines[line - 1][column - 1 :]
        if isinstance(path[-1], str):
            assert here.lstrip('["').startswith(tuple(step for step in path if isinstance(step, str))), path
    assert places["stage", 1, "sub", "z"] == (17, 3)
    assert places["stage", 0, "list", 3, "b"] == (9, 35)
    assert places["sink", "last"] == (23, 1)


VALUES = ['"x"', "1", "[1, 2]", "[ ]", "{ a = 1 }", "'''\n['''", '"""a\n"b\\""""', "1979-05-27 07:32:00", '"\\" ]"', "[\n1, # c\n]"]
KEYS = st.sampled_from(["a", "b", '"c d"', "e.f", "'g'"])


@given(st.lists(st.tuples(st.sampled_from(["[t]", "[[u]]", "[v.w]", "#"]), KEYS, st.sampled_from(VALUES)), max_size=8))
def test_whatever_the_parser_takes_has_places(rows):
    text = "".join(f"{head}\n  {key} = {value}  # end\n" for head, key, value in rows)
    try:
        tree = tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return
    assert set(paths(tree)) <= set(places_of(text))


@pytest.mark.parametrize("text", ["", "\n", "=", "[", "[[", "a", "a =", "]]]", "a = [", "a = {", '"', "a = '''", "\x00"])
def test_what_is_no_toml_ends_too(text):
    places_of(text)


@given(st.text(alphabet='[]{}="\'#,.\n ab\\', max_size=60))
def test_it_never_stands_still(text):
    places_of(text)
