"""The model: a message is a header and a body, a tree of entities that keeps its octets (RFC 5322, RFC 2045).

    message = parse(octets)
    for path, entity in message.walk():
        print(path, entity.content_type.value, entity.filename)

Everything is frozen and lazy: a view is made when it is asked for, an edit gives a new message.
"""

from mailpipe.codec.charset import DecodedText
from mailpipe.message import compose, edit
from mailpipe.message.entity import Entity
from mailpipe.message.field import Field
from mailpipe.message.header import Header
from mailpipe.message.inspect import inspect
from mailpipe.message.message import Message, parse

__all__ = ["DecodedText", "Entity", "Field", "Header", "Message", "compose", "edit", "inspect", "parse"]
