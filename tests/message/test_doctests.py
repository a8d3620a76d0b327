"""The examples in the docstrings of the format rooms are true."""

import doctest
import importlib
import pkgutil

import pytest

ROOMS = ("wire", "codec", "fields", "parser", "message", "writer", "auth")


def _modules() -> list[str]:
    names = []
    for room in ROOMS:
        package = importlib.import_module(f"mailpipe.{room}")
        names += [f"mailpipe.{room}"]
        names += [f"mailpipe.{room}.{module.name}" for module in pkgutil.iter_modules(package.__path__)]
    return names


@pytest.mark.parametrize("name", _modules())
def test_the_examples_of_a_module_are_true(name):
    failed, _ = doctest.testmod(importlib.import_module(name), optionflags=doctest.NORMALIZE_WHITESPACE)
    assert not failed


def test_there_are_examples():
    finder = doctest.DocTestFinder()
    count = sum(len(one.examples) for name in _modules() for one in finder.find(importlib.import_module(name)))
    assert count > 40
