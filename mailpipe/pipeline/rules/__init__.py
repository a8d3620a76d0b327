"""Rules: `when = …` on a stage, a typed condition over the mail that meets it.

    when = { field = { name = "Subject", contains = "invoice" }, size = { above = "1MB" } }     # both
    when.any = [{ list_mail = true }, { sender = { part = "domain", like = "*.example.org" } }]

`condition` is what people write, `subjects` one file of what can be asked, `texts` how text is compared, `rule` what
the engine asks.
"""

from mailpipe.pipeline.rules.condition import Condition
from mailpipe.pipeline.rules.rule import Rule

__all__ = ["Condition", "Rule"]
