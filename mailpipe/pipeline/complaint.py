"""What pydantic says about a table of the pipeline file, in the words of the person who wrote it.

    for complaint in complaints_of(error, SmtpSink.Options):
        complaint.path, complaint.message, complaint.expected, complaint.nearest

Never here: places in a file; and the value of a key that holds a secret, which is never repeated.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, SecretBytes, SecretStr, ValidationError
from pydantic_core import ErrorDetails

_SECRET = re.compile(r"(?i)pass(word|phrase)?$|secret|token|api_?key|credential")
_QUOTED = re.compile(r"'([^']*)'")
_KEY = re.compile(r"[A-Za-z0-9_-]+")
_LONGEST = 60

_EXPECTED = {
    "bool": "true or false",
    "int": "a whole number",
    "float": "a number",
    "finite_number": "a number",
    "decimal": "a number",
    "string_type": "text in quotes",
    "string_sub_type": "text in quotes",
    "bytes_type": "text in quotes",
    "path_type": "a path in quotes",
    "byte_size": 'a size such as "50MB"',
    "time_delta": 'a duration such as "30s"',
    "date": "a date such as 2026-01-31",
    "list_type": "a list in brackets",
    "tuple_type": "a list in brackets",
    "set_type": "a list in brackets",
    "frozen_set_type": "a list in brackets",
    "iterable_type": "a list in brackets",
    "dict_type": "a table",
    "mapping_type": "a table",
    "model": "a table",
    "dataclass": "a table",
    "none_required": "nothing",
}
_BOUNDS = {
    "greater_than_equal": "at least",
    "greater_than": "more than",
    "less_than_equal": "at most",
    "less_than": "less than",
}
# What pydantic names the branches of a union by.
_BRANCHES = frozenset({"str", "int", "float", "bool", "none", "path", "bytes", "constrained-int", "constrained-str"})


@dataclass(frozen=True, slots=True)
class Complaint:
    """One key and what is wrong with it.

    Attributes:
        path: keys and list positions, from the table.
        message: what was found.
        expected: what would have been right, "" where the message says it all.
        nearest: the nearest valid name, None where nothing is near.
    """

    path: tuple[str | int, ...]
    message: str
    expected: str = ""
    nearest: str | None = None


def complaints_of(error: ValidationError, model: type[BaseModel]) -> list[Complaint]:
    """One complaint for each key, however many ways of reading it failed."""
    by_path: dict[tuple[str | int, ...], list[Complaint]] = {}
    for detail in error.errors(include_url=False):
        complaint = _complaint(detail, model)
        by_path.setdefault(complaint.path, []).append(complaint)
    return [_merged(several) for several in by_path.values()]


def _merged(several: list[Complaint]) -> Complaint:
    if len(several) == 1:
        return several[0]
    first = several[0]
    expected = " or ".join(dict.fromkeys(each.expected for each in several if each.expected))
    near = next((each.nearest for each in several if each.nearest), None)
    return Complaint(first.path, first.message, expected, near)


def _complaint(detail: ErrorDetails, model: type[BaseModel]) -> Complaint:
    kind, value, context = detail["type"], detail["input"], detail.get("ctx", {})
    path = tuple(_real_steps(detail["loc"]))
    holder, leaf = _holder(path, model)
    if kind == "extra_forbidden":
        known = tuple(holder.model_fields) if holder else ()
        from difflib import get_close_matches  # slow to import, only for a mistake

        near = get_close_matches(str(leaf).replace("-", "_").lower(), known, n=1)
        expected = "" if near else (f"one of {', '.join(known)}" if known else "no key but 'use'")
        return Complaint(path, f"unknown key {leaf!r}", expected, near[0] if near else None)
    field = holder.model_fields.get(str(leaf)) if holder else None
    if kind == "missing":
        described = (field.description or "") if field else ""
        sentence = " ".join(described.split()).partition(". ")[0].rstrip(".")
        return Complaint(path, "missing", sentence[:1].lower() + sentence[1:])
    is_secret = any(_SECRET.search(str(step)) for step in path) or _mentions_secret(field.annotation if field else None)
    if kind in ("value_error", "assertion_error"):
        words = "the value is not accepted" if is_secret else str(context.get("error") or detail["msg"])
        return Complaint(path, words)
    found = "found a value of the wrong kind" if is_secret else f"found {_shown(value)}"
    near = _near_choice(value, context) if not is_secret else []
    return Complaint(path, found, _expected(kind, detail["msg"], context), near[0] if near else None)


def _expected(kind: str, message: str, context: dict[str, Any]) -> str:
    if kind in ("literal_error", "enum"):
        return re.sub(r"\b(True|False)\b", lambda word: word[0].lower(), str(context.get("expected", "")))
    if bound := _BOUNDS.get(kind):
        return f"{bound} {next(iter(context.values()), '')}"
    for begin, words in _EXPECTED.items():
        if kind.startswith(begin):
            return words
    return re.sub(r"^(?:Input|Value|Tuple|List|String) should (?:be )?", "", message).strip()


def _near_choice(value: object, context: dict[str, Any]) -> list[str]:
    from difflib import get_close_matches  # slow to import, only for a mistake

    choices = _QUOTED.findall(str(context.get("expected", "")))
    return get_close_matches(value.lower(), choices, n=1) if isinstance(value, str) else []


def _shown(value: object) -> str:
    text = repr(value) if not isinstance(value, bool) else str(value).lower()
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"


def _real_steps(steps: tuple[str | int, ...]) -> Iterator[str | int]:
    """The steps that a person wrote; pydantic adds the branches of a union."""
    for number, step in enumerate(steps):
        is_branch = isinstance(step, str) and (step in _BRANCHES or not _KEY.fullmatch(step))
        if number == 0 or not is_branch:
            yield step


def _holder(path: tuple[str | int, ...], model: type[BaseModel]) -> tuple[type[BaseModel] | None, str | int]:
    """The model that the last step of a path is a field of, where that can be told."""
    holder: type[BaseModel] | None = model
    for step in path[:-1]:
        field = holder.model_fields.get(str(step)) if holder else None
        annotation = field.annotation if field else None
        holder = annotation if isinstance(annotation, type) and issubclass(annotation, BaseModel) else None
    return holder, path[-1] if path else ""


def _mentions_secret(annotation: object) -> bool:
    if annotation in (SecretStr, SecretBytes):
        return True
    return any(_mentions_secret(each) for each in getattr(annotation, "__args__", ()))
