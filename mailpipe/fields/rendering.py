"""Text that a person wrote as the octets of a field's body: encoded words where they may stand (RFC 2047 section 5).

    render("Subject", "Grüße")                    # b"=?utf-8?b?R3LDvMOfZQ==?="
    render("To", "Änne <a@example.org>")          # b"=?utf-8?b?w4RubmU=?= <a@example.org>"

Never here: folding, and typed values; those render themselves.
"""

from mailpipe.codec import encoded_word
from mailpipe.errors import ComposeError
from mailpipe.fields import registry
from mailpipe.fields.address import AddressList
from mailpipe.fields.content_disposition import ContentDisposition
from mailpipe.fields.content_type import ContentType
from mailpipe.fields.keywords import Keywords
from mailpipe.fields.mailing_list import ListId
from mailpipe.fields.unstructured import Text

# What these values render says everything that was read into them, and in ASCII where there is a way.
_SAYS_ALL = (AddressList, Keywords, ContentType, ContentDisposition, ListId)


def render(name: str, text: str) -> bytes:
    """The body of a field of that name, not folded; what has no other way to be said stays UTF-8 (RFC 6532).

    Raises:
        ComposeError: the text holds a CR, LF or NUL, which would begin another field.
    """
    if "\r" in text or "\n" in text or "\0" in text:
        raise ComposeError(f"the value of {name!r} holds a line end or a NUL (RFC 5322 section 2.2)")
    kind = registry.kind(name).value
    if kind is Text:
        if not encoded_word.needs_encoding(text):
            return text.strip(" \t").encode("ascii")
        return encoded_word.encode(text, first_width=76 - len(name) - 2)
    octets = text.encode("utf-8", "surrogateescape")
    if text.isascii():
        return octets.strip(b" \t")
    value = registry.parse(name, octets)
    if isinstance(value, AddressList) and not value.members:
        return octets
    return value.render() if isinstance(value, _SAYS_ALL) else octets
