"""A sink that takes every mail and keeps nothing: for measuring, and for pipelines whose work is done by their stages.

    [sink]
    use = "discard"

Never here: anything that can fail.
"""

from mailpipe.pipeline.component import Options, Sink
from mailpipe.pipeline.mail import Mail
from mailpipe.pipeline.outcome import Fate, Receipt


class DiscardOptions(Options):
    """The sink `discard` has no options."""


class DiscardSink(Sink[DiscardOptions]):
    """Takes every mail and keeps nothing."""

    name = "discard"
    Options = DiscardOptions

    def deliver(self, mail: Mail) -> Receipt:
        """Delivered, every time."""
        return Receipt.of_all(mail.envelope.forward_paths, Fate.DELIVERED, "2.0.0", "discarded")
