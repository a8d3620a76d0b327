"""Why a condition does not hold, in the words of who wrote it.

    why_not(condition, mail, "bo@example.net", clock)     # 'all: size = { above = "1MB" }'

Asked only about conditions that did not hold, by those who look at one mail: every part is made and asked anew.

Never here: asking on behalf of the engine; see `rule`.
"""

import json
from collections.abc import Iterator

from mailpipe.pipeline.mail import Mail
from mailpipe.pipeline.rules.condition import Condition
from mailpipe.pipeline.services import Clock

_LONGEST = 200


def why_not(condition: Condition, mail: Mail, recipient: str | None, clock: Clock) -> str:
    """The first part of a condition that did not hold.

    Args:
        condition: as written.
        mail: the one that was asked about.
        recipient: the address that was asked about, None for the mail as a whole.
        clock: what the engine asked by.
    """
    for single in _parts(condition):
        if single.question(clock)(mail, recipient):
            continue
        if single.all_ is not None:
            failed = next(each for each in single.all_ if not each.question(clock)(mail, recipient))
            return f"all: {why_not(failed, mail, recipient, clock)}"
        if single.any_ is not None:
            return f"any: none of {len(single.any_)} holds"
        if single.not_ is not None:
            return f"not: {written(single.not_)} holds"
        return written(single)
    return ""


def _parts(condition: Condition) -> Iterator[Condition]:
    """A condition for each of its questions, in the order in which they were written."""
    empty = dict.fromkeys(Condition.model_fields)
    for name in Condition.model_fields:
        if (value := getattr(condition, name)) is not None and name in condition.model_fields_set:
            single = condition.model_copy(update=empty | {name: value})
            single.__pydantic_fields_set__ = {name}
            yield single


def written(condition: Condition) -> str:
    """A condition as a pipeline file has it, in one line."""
    table = condition.model_dump(mode="json", by_alias=True, exclude_unset=True, exclude_none=True)
    text = ", ".join(f"{key} = {_toml(value)}" for key, value in table.items())
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"


def _toml(value: object) -> str:
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{key} = {_toml(each)}" for key, each in value.items()) + " }"
    if isinstance(value, list):
        return "[" + ", ".join(map(_toml, value)) + "]"
    return json.dumps(value, ensure_ascii=False)
