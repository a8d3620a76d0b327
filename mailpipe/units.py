"""Measures as people write them in a configuration: sizes ("50MB") and durations ("30s", "1h30m").

    class Options(mailpipe.Options):
        message_size: ByteSize = ByteSize(50_000_000)      # octets, an int
        timeout: Duration = 30.0                           # seconds, a float

Never here: clocks. A duration is a length of time, not a moment.
"""

import re
from typing import Annotated, Any

from pydantic import BeforeValidator, ByteSize, WithJsonSchema

__all__ = ["ByteSize", "Duration", "duration_text", "parse_duration"]

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}
_STEP = re.compile(r"\s*(\d+(?:\.\d+)?)\s*(ms|[smhdw])\s*")


def parse_duration(text: object) -> Any:
    """Turn "1h30m" into 5400.0 seconds; numbers pass as seconds.

    Raises:
        ValueError: the text has another form, or the duration is negative.

    >>> parse_duration("1m30s"), parse_duration("250ms"), parse_duration(5)
    (90.0, 0.25, 5)
    """
    if isinstance(text, int | float) and not isinstance(text, bool) and text < 0:
        raise ValueError("a duration cannot be negative")
    if not isinstance(text, str):
        return text
    seconds, position = 0.0, 0
    while match := _STEP.match(text, position):
        seconds += float(match[1]) * _UNITS[match[2]]
        position = match.end()
    if position != len(text) or not text.strip():
        raise ValueError(f"{text!r} is no duration such as '30s', '5m' or '1h30m'")
    return seconds


def duration_text(seconds: float) -> str:
    """The shortest exact way to write a duration: 5400.0 → "1h30m".

    >>> duration_text(5400), duration_text(0.25), duration_text(0)
    ('1h30m', '250ms', '0s')
    """
    rest, words = round(seconds * 1000), []
    for unit, size in (("w", 604_800_000), ("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)):
        count, rest = divmod(rest, size)
        if count:
            words.append(f"{count}{unit}")
    return "".join(words) or "0s"


Duration = Annotated[
    float,
    BeforeValidator(parse_duration),
    WithJsonSchema({"type": ["string", "number"], "examples": ["30s", "5m", "1h30m"]}),
]
"""Seconds; in a configuration a number of seconds or text such as "1h30m"."""
