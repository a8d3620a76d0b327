"""Every dialogue, whole and octet by octet."""

from pathlib import Path

import pytest

NAMES = sorted(path.stem for path in (Path(__file__).parent / "dialogues").glob("*.txt"))


def test_there_are_dialogues():
    assert len(NAMES) > 25


@pytest.mark.parametrize("name", NAMES)
def test_dialogue_as_written(dialogue, name):
    dialogue(name).play()


@pytest.mark.parametrize("name", NAMES)
def test_dialogue_octet_by_octet(dialogue, name):
    dialogue(name, octet_by_octet=True).play()
