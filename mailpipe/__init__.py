"""mailpipe: Internet mail from octets to a typed, lossless model, through stages, to a sink.

The map of the house, from the ground up; each floor imports only what stands above it in this list:

    status, units, limits, defect, errors     the words that every room shares
    durable, crew                             files that are whole or not there; threads side by side
    wire                                      octets without meaning: folding, lexing
    codec                                     transfer encodings, charsets, encoded words
    smtp                                      the protocol without sockets; envelope and replies
    fields                                    typed values of header fields
    net, queue, archive                       sockets; mail that is ours until somebody has it; mbox and Maildir
    parser                                    one scan: octets to spans
    message                                   the model: Message, Entity, Header, Field; edit, compose
    writer                                    the model to octets for a lesser peer
    auth                                      DKIM, ARC, SPF, DMARC; which octets a signature covers
    pipeline                                  mail, verdicts, outcomes; settings, engine, journal
    sources, stages, sinks, plugins           what a pipeline is made of
    bundled, testing                          registers the built-in ones; the kit for authors of others
    cli                                       the command line

What is re-exported here is public, with `mailpipe.errors`, `mailpipe.fields`, `mailpipe.message`, `mailpipe.smtp`
and `mailpipe.testing`; everything else may change in any release.
"""

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

# Where each public name lives. They are imported when first asked for, so that a command that only prints its
# version does not wait for pydantic.
_HOMES = {
    "parse": "mailpipe.message",
    "write": "mailpipe.writer",
    "Limits": "mailpipe.limits",
    "WritePolicy": "mailpipe.writer",
    "Message": "mailpipe.message",
    "Entity": "mailpipe.message",
    "Header": "mailpipe.message",
    "Field": "mailpipe.message",
    "Mailbox": "mailpipe.fields",
    "Envelope": "mailpipe.smtp.envelope",
    "Defect": "mailpipe.defect",
    "RawMail": "mailpipe.pipeline.mail",
    "Mail": "mailpipe.pipeline.mail",
    "Source": "mailpipe.pipeline.component",
    "Stage": "mailpipe.pipeline.component",
    "Sink": "mailpipe.pipeline.component",
    "Options": "mailpipe.pipeline.component",
    "stage": "mailpipe.pipeline.function_stage",
    "Services": "mailpipe.pipeline.services",
    "Changed": "mailpipe.pipeline.mail",
    "Registry": "mailpipe.pipeline.registry",
    "Access": "mailpipe.pipeline.access",
    "Budget": "mailpipe.pipeline.access",
    "LocalPath": "mailpipe.pipeline.component",
    "Origin": "mailpipe.pipeline.mail",
    "Fate": "mailpipe.pipeline.outcome",
    "Verdict": "mailpipe.pipeline.verdict",
    "Receipt": "mailpipe.pipeline.outcome",
    "Outcome": "mailpipe.pipeline.outcome",
    "Pipeline": "mailpipe.pipeline.assemble",
    "MailpipeError": "mailpipe.errors",
}

if TYPE_CHECKING:
    from mailpipe.defect import Defect as Defect
    from mailpipe.errors import MailpipeError as MailpipeError
    from mailpipe.fields import Mailbox as Mailbox
    from mailpipe.limits import Limits as Limits
    from mailpipe.message import Entity as Entity
    from mailpipe.message import Field as Field
    from mailpipe.message import Header as Header
    from mailpipe.message import Message as Message
    from mailpipe.message import parse as parse
    from mailpipe.pipeline.access import Access as Access
    from mailpipe.pipeline.access import Budget as Budget
    from mailpipe.pipeline.assemble import Pipeline as Pipeline
    from mailpipe.pipeline.component import LocalPath as LocalPath
    from mailpipe.pipeline.component import Options as Options
    from mailpipe.pipeline.component import Sink as Sink
    from mailpipe.pipeline.component import Source as Source
    from mailpipe.pipeline.component import Stage as Stage
    from mailpipe.pipeline.function_stage import stage as stage
    from mailpipe.pipeline.mail import Changed as Changed
    from mailpipe.pipeline.mail import Mail as Mail
    from mailpipe.pipeline.mail import Origin as Origin
    from mailpipe.pipeline.mail import RawMail as RawMail
    from mailpipe.pipeline.outcome import Fate as Fate
    from mailpipe.pipeline.outcome import Outcome as Outcome
    from mailpipe.pipeline.outcome import Receipt as Receipt
    from mailpipe.pipeline.registry import Registry as Registry
    from mailpipe.pipeline.services import Services as Services
    from mailpipe.pipeline.verdict import Verdict as Verdict
    from mailpipe.smtp.envelope import Envelope as Envelope
    from mailpipe.writer import WritePolicy as WritePolicy
    from mailpipe.writer import write as write

__all__ = [
    "parse",
    "write",
    "Limits",
    "WritePolicy",
    "Message",
    "Entity",
    "Header",
    "Field",
    "Mailbox",
    "Envelope",
    "Defect",
    "RawMail",
    "Mail",
    "Source",
    "Stage",
    "Sink",
    "Options",
    "stage",
    "Services",
    "Changed",
    "Registry",
    "Access",
    "Budget",
    "LocalPath",
    "Origin",
    "Fate",
    "Verdict",
    "Receipt",
    "Outcome",
    "Pipeline",
    "MailpipeError",
]


def __getattr__(name: str) -> Any:
    if (home := _HOMES.get(name)) is None:
        raise AttributeError(f"module 'mailpipe' has no attribute {name!r}")
    value = getattr(importlib.import_module(home), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
