r"""File names that a sender suggested, made safe to write to (RFC 2183 section 2.3, RFC 6266 section 4.3).

    safe_name("../../etc/passwd")               # "passwd"
    safe_name("C:\\TEMP\\a.png")                # "a.png"
    safe_name(None, "application/pdf")          # "attachment.pdf"

Never here: directories; where a file goes is the stage's business.
"""

import mimetypes
import re
import unicodedata

LONGEST = 200
"""Octets of a name; file systems allow 255, and what is put before and behind it needs room."""

# Windows gives these meanings as well; an archive may be opened there. Control and format characters (right-to-left
# overrides, zero-width marks) disguise what follows them.
_UNSAFE = re.compile(r'[<>:"|?*\x00-\x1f\x7f]')
_RESERVED = re.compile(r"(?:con|prn|aux|nul|com[0-9¹²³]|lpt[0-9¹²³])(?:\.|\Z)", re.IGNORECASE)
_MEDIA_TYPE = re.compile(r"(?!multipart/|message/)[a-z0-9][a-z0-9!#$&^_.+-]{0,60}/[a-z0-9][a-z0-9!#$&^_.+-]{0,80}")
_SUFFIX = re.compile(r"\.[A-Za-z0-9]{1,10}\Z")


def safe_name(suggested: str | None, content_type: str = "application/octet-stream") -> str:
    """A name without directories, control characters and reserved words, at most 200 octets of UTF-8.

    Args:
        suggested: the sender's word; None or "" where there is none.
        content_type: gives the suffix of a nameless part.
    """
    text = unicodedata.normalize("NFC", suggested or "")
    text = text.replace("\\", "/").rsplit("/", 1)[-1]
    text = "".join("" if unicodedata.category(one) in ("Cf", "Cs", "Co", "Cn") else one for one in text)
    text = " ".join(_UNSAFE.sub("_", text).split()).strip(" .")
    if _RESERVED.match(text) or text.startswith("-"):  # a shell would take the latter for an option
        text = f"_{text}"
    if not text:
        suffix = mimetypes.guess_extension(content_type, strict=False) or ".bin"
        return f"attachment{suffix}"
    return shortened(text)


def with_mark(name: str, mark: str) -> str:
    """A name with something put before its suffix: "a.pdf" and "x" give "a-x.pdf"."""
    suffix = _SUFFIX.search(name)
    if suffix is None or suffix.start() == 0:
        return f"{name}-{mark}"
    return f"{name[: suffix.start()]}-{mark}{suffix[0]}"


def shortened(name: str) -> str:
    """A name cut to size without losing its suffix or half a character."""
    if len(name.encode()) <= LONGEST:
        return name
    suffix = _SUFFIX.search(name)
    tail = suffix[0] if suffix is not None else ""
    room = LONGEST - len(tail.encode())
    return name.encode()[:room].decode("utf-8", "ignore").rstrip(" .") + tail


def media_type(suggested: str, name: str) -> str:
    """A media type for a file: the suggested one, else by its name."""
    if _MEDIA_TYPE.fullmatch(suggested):
        return suggested
    guessed = mimetypes.guess_type(name, strict=False)[0] or ""
    return guessed if _MEDIA_TYPE.fullmatch(guessed) else "application/octet-stream"
