"""The typed values of header fields: type, parse and render of each side by side, one file a kind.

    from mailpipe import fields

    fields.parse("To", b" Ann <ann@example.org>").mailboxes[0].address       # "ann@example.org"
    fields.parse("Date", b" Fri, 21 Nov 1997 09:55:06 -0600").datetime       # an aware datetime
    fields.is_address("ann@example.org")                                     # True

No parser raises because of what a sender wrote: a value holds what could be read, and its `defects` say what was wrong.

Never here: folding and spans; message/ has the fields, this room has their meaning.
"""

from mailpipe.fields.addr_spec import is_address
from mailpipe.fields.address import AddressList, Group, Mailbox
from mailpipe.fields.authentication import AuthenticationResult, AuthenticationResults, TagList
from mailpipe.fields.content_disposition import ContentDisposition
from mailpipe.fields.content_type import ContentType
from mailpipe.fields.date import DateTime
from mailpipe.fields.keywords import Keywords
from mailpipe.fields.mailing_list import ListId, ListUrls
from mailpipe.fields.message_id import MessageId, MessageIdList
from mailpipe.fields.mime import Languages, MimeVersion, TokenValue
from mailpipe.fields.parameter import Parameters
from mailpipe.fields.registry import FieldKind, Occurrence, occurrence, parse, register_field
from mailpipe.fields.rendering import render
from mailpipe.fields.trace import Received, ReturnPath
from mailpipe.fields.unstructured import Text
from mailpipe.fields.value import FieldValue, Unparsed

__all__ = [
    "parse", "render", "is_address", "register_field", "occurrence", "Occurrence", "FieldKind",
    "FieldValue", "Unparsed", "Text", "Mailbox", "Group", "AddressList", "DateTime", "MessageId", "MessageIdList",
    "Parameters", "ContentType", "ContentDisposition", "MimeVersion", "TokenValue", "Languages", "Received",
    "ReturnPath", "ListUrls", "ListId", "AuthenticationResult", "AuthenticationResults", "TagList", "Keywords",
]  # fmt: skip
