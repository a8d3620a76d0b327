"""What is read most, compiled where there was a compiler: the ordinary case of it, with the answers that Python gives.

    if native.header_marks is not None:
        header_stop, body_start, kind, encoding = native.header_marks(octets, 0, len(octets))

Each name is None where there is no compiled build, as on a machine without a compiler, and where the environment has
MAILPIPE_PURE: everything then goes the way in Python. Each of these has that way beside it, and leaves to it
whatever is not ordinary.

Never here: a way of reading that Python has not.
"""

import contextlib
import os
from collections.abc import Callable
from types import EllipsisType
from typing import Any

_Items = tuple[tuple[str, str | None], ...]

names_and_texts: Callable[[bytes, int], tuple[_Items, bool] | None] | None = None
places_of: Callable[[_Items, str], list[int]] | None = None
value_of: Callable[[_Items, list[Any], str, dict[str, Callable[[str], Any]], Any], Any] | None = None
values_of: Callable[[_Items, list[Any], str, dict[str, Callable[[str], Any]], Any], list[Any]] | None = None
header_marks: Callable[[bytes, int, int], tuple[int, int, bytes | None, bytes | None]] | None = None
field_body: Callable[[bytes, int, int, str], bytes | None] | None = None
field_text: Callable[[bytes, int, int, str], str | EllipsisType | None] | None = None
field_bodies: Callable[[bytes, int, int, str], list[bytes]] | None = None
only_field: Callable[[bytes, int, int, str], tuple[int, int] | None] | None = None
decode_quoted_printable: Callable[[bytes, bool, bool], bytes | None] | None = None
high_octets: Callable[[bytes], bytes] | None = None
windows_text: Callable[[bytes], str] | None = None
DateReader: Callable[..., Any] | None = None
HopReader: Callable[..., Any] | None = None
MailboxReader: Callable[..., Any] | None = None

if not os.environ.get("MAILPIPE_PURE"):
    with contextlib.suppress(ImportError):
        from mailpipe.native import _header, _lines, _transfer, _values

        names_and_texts, header_marks = _header.names_and_texts, _header.header_marks
        field_body, field_bodies, field_text = _header.field_body, _header.field_bodies, _header.field_text
        only_field = _header.only_field
        places_of, value_of, values_of = _lines.places_of, _lines.value_of, _lines.values_of
        DateReader, HopReader, MailboxReader = _values.DateReader, _values.HopReader, _values.MailboxReader
        decode_quoted_printable = _transfer.decode_quoted_printable
        high_octets, windows_text = _transfer.high_octets, _transfer.windows_text

IS_COMPILED = HopReader is not None
"""Whether there is a compiled build and it is used."""
