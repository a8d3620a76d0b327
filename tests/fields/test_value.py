import pytest

from mailpipe.fields.value import Remembered


def test_what_was_read_is_not_read_again() -> None:
    read: list[str] = []

    def length(text: str) -> int:
        read.append(text)
        return len(text)

    known = Remembered(length, longest=5)
    assert [known[text] for text in ("ab", "ab", "abcdef", "abcdef")] == [2, 2, 6, 6]
    assert read == ["ab", "abcdef", "abcdef"]


def test_a_full_memory_forgets() -> None:
    known = Remembered(len, longest=10, most=3)
    for number in range(1000):
        assert known[str(number)] == len(str(number))
        assert len(known) <= 3


def test_what_cannot_be_read_is_not_remembered() -> None:
    known = Remembered(int, longest=5)
    with pytest.raises(ValueError, match="x"):
        known["x"]
    assert not known
