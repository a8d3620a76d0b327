from collections.abc import Callable
from typing import Any, Generic, TypeVar

Value = TypeVar("Value")

class DateReader(Generic[Value]):
    def __init__(self, kind: type[Value], rare: Callable[[str, bytes | None], Value]) -> None: ...
    def __call__(self, text: str, body: bytes | None = None) -> Value: ...

class HopReader(Generic[Value]):
    def __init__(
        self,
        kind: type[Value],
        heads: dict[str, Any],
        rests: dict[str, Any],
        rare: Callable[[str, bytes | None], Value],
    ) -> None: ...
    def __call__(self, text: str, body: bytes | None = None) -> Value: ...

class MailboxReader:
    def __init__(self, kind: type[Any], shown: Callable[[str, bool], str | None]) -> None: ...
    def __call__(self, text: str) -> tuple[Any, ...] | None: ...
