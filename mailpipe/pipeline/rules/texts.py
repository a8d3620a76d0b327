"""How a condition compares text: is, contains, begins, ends, like, matches, in_file.

    TextTest(contains="invoice").test()("Your INVOICE")          # True

Regular expressions are those of Rust's regex engine, which pydantic carries: linear in the text whatever the
expression, and therefore without look-around and back-references.

Never here: where the text comes from.
"""

import re
from collections.abc import Callable, Iterable
from typing import Self

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator, model_validator
from pydantic_core import SchemaError, SchemaValidator, core_schema

from mailpipe.pipeline.component import LocalPath

Test = Callable[[str], bool]
Words = str | tuple[str, ...]

LONGEST_TEXT = 1_000_000
"""LIMIT: characters of a text that are looked at; the rest of a longer one cannot match."""


class Table(BaseModel):
    """A table of a condition: frozen, unknown keys refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True, populate_by_name=True)


def matcher(pattern: str, *, ignore_case: bool = False) -> Test:
    """Whether a regular expression is found in a text, in linear time.

    Raises:
        ValueError: it is none, or asks for what takes more than linear time.
    """
    flags = "i" if ignore_case else ""
    try:
        validator = SchemaValidator(
            core_schema.str_schema(pattern=f"(?s{flags}){pattern}", regex_engine="rust-regex", strict=True)
        )
    except SchemaError as error:
        raise ValueError(_why(str(error), pattern)) from None
    return validator.isinstance_python


def _why(words: str, pattern: str) -> str:
    reason = next((line for line in words.splitlines() if line.strip().startswith("error:")), "").strip()[7:]
    if "look-around" in words or "backreferences" in words:
        reason = "look-around and back-references are not there, so that no text can make it slow"
    return f"{pattern!r} is no regular expression" + (f": {reason}" if reason else "")


def _tuple(words: Words | None) -> tuple[str, ...]:
    return () if words is None else (words,) if isinstance(words, str) else words


class TextTest(Table):
    """Ways to compare a text; where there are several, all must hold. A list means: one of them."""

    is_: Words | None = Field(default=None, alias="is")
    """The whole text."""
    contains: Words | None = None
    """A piece of it."""
    begins: Words | None = None
    """Its beginning."""
    ends: Words | None = None
    """Its end."""
    like: Words | None = None
    """The whole text with wildcards: "*.example.org"."""
    matches: Words | None = None
    """A regular expression that is found in it (Rust's syntax, linear in time)."""
    in_file: LocalPath | None = None
    """A file with one text a line, one of which is the whole text; empty lines and those with # do not count. It is
    read when the pipeline is opened."""
    ignore_case: bool = True
    """Whether capitals do not matter."""

    @field_validator("matches")
    @classmethod
    def _is_expression(cls, patterns: Words | None) -> Words | None:
        for pattern in _tuple(patterns):
            matcher(pattern)
        return patterns

    @field_validator("in_file")
    @classmethod
    def _is_readable(cls, path: LocalPath | None, _: ValidationInfo) -> LocalPath | None:
        if path is not None and not path.is_file():
            raise ValueError(f"there is no file {path}")
        return path

    @property
    def is_empty(self) -> bool:
        """Whether nothing is asked of the text."""
        asked = (self.is_, self.contains, self.begins, self.ends, self.like, self.matches, self.in_file)
        return all(each is None for each in asked)

    def test(self) -> Test:
        """The comparison as a function; texts longer than `LONGEST_TEXT` are cut.

        Raises:
            OSError: the file of `in_file` cannot be read.
        """
        fold = str.casefold if self.ignore_case else str
        tests: list[Test] = []
        if self.is_ is not None or self.in_file is not None:
            whole = {fold(each) for each in _tuple(self.is_)}
            if self.in_file is not None:
                lines = (line.strip() for line in self.in_file.read_text("utf-8").splitlines())
                whole |= {fold(line) for line in lines if line and not line.startswith("#")}
            tests.append(lambda text: fold(text) in whole)
        if self.contains is not None:
            tests.append(_any_of(self.contains, fold, str.__contains__))
        if self.begins is not None:
            tests.append(_any_of(self.begins, fold, str.startswith))
        if self.ends is not None:
            tests.append(_any_of(self.ends, fold, str.endswith))
        if self.like is not None:
            tests.append(_one(wildcard(each, ignore_case=self.ignore_case) for each in _tuple(self.like)))
        if self.matches is not None:
            tests.append(_one(matcher(each, ignore_case=self.ignore_case) for each in _tuple(self.matches)))
        if len(tests) == 1:
            only = tests[0]
            return lambda text: only(text[:LONGEST_TEXT])
        return lambda text: all(each(text[:LONGEST_TEXT]) for each in tests)


class SomeTextTest(TextTest):
    """One in which something must be asked."""

    @model_validator(mode="after")
    def _asks_something(self) -> Self:
        if self.is_empty:
            raise ValueError("nothing is asked: give one of is, contains, begins, ends, like, matches, in_file")
        return self


def _any_of(words: Words, fold: Callable[[str], str], compare: Callable[[str, str], bool]) -> Test:
    pieces = [fold(each) for each in _tuple(words)]

    def test(text: str) -> bool:
        folded = fold(text)
        return any(compare(folded, piece) for piece in pieces)

    return test


def _one(tests: Iterable[Test]) -> Test:
    several = list(tests)
    return several[0] if len(several) == 1 else lambda text: any(test(text) for test in several)


def wildcard(pattern: str, *, ignore_case: bool = True) -> Test:
    """Whether the whole text is like a pattern with `*`, `?` and `[…]`; linear, as a regular expression is not.

    >>> wildcard("image/*")("IMAGE/png")
    True
    """
    if "[" in pattern or "?" in pattern or pattern.count("*") > 1:
        expression = "".join(_rust(piece) for piece in re.findall(r"\*+|\?|\[[^\]]+\]|[^*?\[]+|\[", pattern))
        return matcher(f"^(?:{expression})$", ignore_case=ignore_case)
    begin, star, end = pattern.partition("*")
    if ignore_case:
        begin, end = begin.casefold(), end.casefold()

    def test(text: str) -> bool:
        folded = text.casefold() if ignore_case else text
        if not star:
            return folded == begin
        return len(folded) >= len(begin) + len(end) and folded.startswith(begin) and folded.endswith(end)

    return test


def _rust(piece: str) -> str:
    if piece[0] == "*":
        return ".*"
    if piece == "?":
        return "."
    if len(piece) > 2 and piece[0] == "[" and piece[-1] == "]":
        inner = piece[1:-1].replace("\\", r"\\").replace("[", r"\[").replace("&&", r"&\&").replace("~~", r"~\~")
        return f"[^{inner[1:]}]" if inner.startswith("!") else f"[{inner}]"
    return re.sub(r"([^\w\s])", r"\\\1", piece)
