"""The stage `arc-verify`: whether the chain of those who passed the message on holds (RFC 8617).

    [[stage]]
    use = "arc-verify"

It stands first, as `dkim-verify` does, and leaves a note `AuthResult` and the `Chain` itself; `arc-seal` at the end of
the pipeline says what was found here. It needs the packages cryptography and dnspython, the extra `mailpipe[auth]`.

Never here: whether a sealer is to be believed.
"""

from mailpipe.auth.arc import Chain, validate
from mailpipe.auth.keys import require
from mailpipe.pipeline.access import Access
from mailpipe.pipeline.component import Stage
from mailpipe.pipeline.mail import Mail
from mailpipe.pipeline.notes import AuthResult
from mailpipe.pipeline.services import Services
from mailpipe.stages.lookups import LookupOptions, open_lookup


class ArcVerifyOptions(LookupOptions):
    """Who is asked for keys."""


class ArcVerify(Stage[ArcVerifyOptions]):
    """Validates the chain of ARC and leaves notes about it."""

    name = "arc-verify"
    Options = ArcVerifyOptions
    reads = Access(fields=("*",), body=True)
    touches = Access(notes=(AuthResult, Chain))
    decides = ()

    def open(self, services: Services) -> None:
        """See that everything is there; nobody is asked yet."""
        require()
        self._services = services
        self._lookup = open_lookup(self.options, services)

    def process(self, mail: Mail) -> Mail:
        """Validate, leave notes."""
        self._lookup.begin()
        chain = validate(mail.message, self._lookup, now=int(self._services.clock.now().timestamp()))
        # RFC 8617 section 10.2
        return mail.with_note(AuthResult("arc", chain.status, chain.domain, chain.reason), chain)
