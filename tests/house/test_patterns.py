"""No regular expression repeats a group possessively: Python before 3.11.5 gets that wrong.

There, an iteration that consumes something and then fails does not give it back: `(?:a(?!b))*+ab` does not match "ab".
`(?>(?:a(?!b))*)ab` says the same and works everywhere; a possessive repeat of one character or set does too.
"""

import subprocess
import sys

PROBE = r"""
import importlib, pkgutil, re, sys
from re import _parser
from re._constants import ATOMIC_GROUP, BRANCH, MAX_REPEAT, MIN_REPEAT, POSSESSIVE_REPEAT, SUBPATTERN, ASSERT, ASSERT_NOT
from re._constants import ANY, IN, LITERAL, NOT_LITERAL

def nodes(pattern):
    for kind, value in pattern:
        yield kind, value
        if kind in (MAX_REPEAT, MIN_REPEAT, POSSESSIVE_REPEAT):
            yield from nodes(value[2])
        elif kind is ATOMIC_GROUP:
            yield from nodes(value)
        elif kind is SUBPATTERN:
            yield from nodes(value[3])
        elif kind in (ASSERT, ASSERT_NOT):
            yield from nodes(value[1])
        elif kind is BRANCH:
            for each in value[1]:
                yield from nodes(each)

def is_one_character(item):
    return len(item) == 1 and item[0][0] in (ANY, IN, LITERAL, NOT_LITERAL)

compile = re.compile
def watched(pattern, flags=0):
    place = sys._getframe(1)
    name = place.f_globals.get("__name__", "")
    if name.startswith("mailpipe") and not isinstance(pattern, re.Pattern):
        tree = _parser.parse(pattern, int(flags))
        if any(kind is POSSESSIVE_REPEAT and not is_one_character(value[2]) for kind, value in nodes(tree)):
            print(f"{name}:{place.f_lineno}: {pattern!r}")
    return compile(pattern, flags)
re.compile = watched

import mailpipe
for module in pkgutil.walk_packages(mailpipe.__path__, "mailpipe."):
    if not module.name.endswith("__main__"):
        importlib.import_module(module.name)
"""


def test_no_pattern_repeats_a_group_possessively(top):
    result = subprocess.run([sys.executable, "-c", PROBE], cwd=top, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert not result.stdout, result.stdout
