"""The stage `dkim-verify`: which domains answer for the message, and whether it came as they signed it (RFC 6376).

    [[stage]]
    use = "dkim-verify"
    on_fail = "accept"              # accept | tag | reject | quarantine
    nameservers = ["127.0.0.1"]     # by default those of the system

It stands first: what changes the message before it breaks signatures. Each signature leaves a note `AuthResult`, and so
does a message without any ("none"). RFC 6376 section 6.1 wants a message whose signatures fail treated like one that
has none, since mailing lists break them; that is why on_fail is "accept" unless you say otherwise.

It needs the packages cryptography and dnspython, the extra `mailpipe[auth]`.

Never here: whether the domain that signed has to do with the author; that is DMARC.
"""

from typing import Literal

from pydantic import Field as OptionField

from mailpipe.auth.dkim import MAX_SIGNATURES, Result, Verification, verify
from mailpipe.auth.keys import require
from mailpipe.pipeline.access import Access
from mailpipe.pipeline.component import Stage
from mailpipe.pipeline.mail import Changed, Mail
from mailpipe.pipeline.notes import AuthResult
from mailpipe.pipeline.services import Services
from mailpipe.pipeline.verdict import Decision, Verdict
from mailpipe.stages.lookups import LookupOptions, open_lookup


class DkimVerifyOptions(LookupOptions):
    """Who is asked, and what becomes of a message whose signatures fail."""

    on_fail: Literal["accept", "tag", "reject", "quarantine"] = "accept"
    """What becomes of a message that has signatures of which none passes, one of a domain that only tries aside."""
    on_temperror: Literal["accept", "defer"] = "accept"
    """What becomes of a message when no signature passes and a name server did not answer; defer: it comes again."""
    tag_field: str = "X-DKIM-Result"
    """The field that a tag is written to; where a message comes with one, that goes."""
    max_signatures: int = OptionField(default=MAX_SIGNATURES, ge=1, le=1000)
    """How many signatures of a message are verified, from the top."""


class DkimVerify(Stage[DkimVerifyOptions]):
    """Verifies DKIM signatures, leaves a note about each, and accepts, tags, rejects or quarantines what fails."""

    name = "dkim-verify"
    Options = DkimVerifyOptions
    reads = Access(fields=("*",), body=True)
    touches = Access(fields=("X-DKIM-Result",), notes=(AuthResult, Changed))
    decides = (Decision.REJECT, Decision.QUARANTINE, Decision.DEFER)

    @classmethod
    def accesses(cls, options: DkimVerifyOptions) -> tuple[Access, Access]:
        """Only a tag touches the message."""
        tag = Access(fields=(options.tag_field,), notes=(Changed,)) if options.on_fail == "tag" else Access()
        return cls.reads, tag | Access(notes=(AuthResult,))

    @classmethod
    def decisions(cls, options: DkimVerifyOptions) -> tuple[Decision, ...]:
        """A verdict only where the options ask for one."""
        words = {options.on_fail, options.on_temperror}
        return tuple(each for each in (Decision.REJECT, Decision.QUARANTINE, Decision.DEFER) if each.value in words)

    def open(self, services: Services) -> None:
        """See that everything is there; nobody is asked yet."""
        require()
        self._services = services
        self._lookup = open_lookup(self.options, services)

    def process(self, mail: Mail) -> Mail | Verdict:
        """Verify, leave notes, decide."""
        options = self.options
        self._lookup.begin()
        now = int(self._services.clock.now().timestamp())
        found = verify(mail.message, self._lookup, now=now, limit=options.max_signatures)
        notes = tuple(_note(each) for each in found) or (AuthResult("dkim", "none"),)
        if options.on_fail == "tag" and options.tag_field in mail.message.header:
            mail = mail.with_message(mail.message.with_header(mail.message.header.without(options.tag_field)))
            mail = mail.with_note(Changed(self.name, f"{options.tag_field} removed, which was not ours"))
        counted = [each for each in found if not each.is_testing]
        if not counted or any(each.result == Result.PASS for each in found):
            return mail.with_note(*notes)
        silent = next((each for each in counted if each.result == Result.TEMPERROR), None)
        if silent is not None:
            # what cannot be known now is no failure
            if options.on_temperror == "defer":
                return Verdict.defer(f"DKIM cannot be verified now: {silent.reason}", status="4.7.5", notes=notes)
            return mail.with_note(*notes)
        words = "; ".join(f"{each.result} ({each.domain[:80] or '?'}: {each.reason[:120]})" for each in counted[:5])
        if options.on_fail == "reject":
            return Verdict.reject(f"no DKIM signature passes: {words}", status="5.7.20", notes=notes)
        if options.on_fail == "quarantine":
            return Verdict.quarantine(f"no DKIM signature passes: {words}", notes=notes)
        if options.on_fail == "tag":
            header = mail.message.header.with_added(options.tag_field, words)
            mail = mail.with_message(mail.message.with_header(header))
            mail = mail.with_note(Changed(self.name, f"{options.tag_field} added"))
        return mail.with_note(*notes)


def _note(one: Verification) -> AuthResult:
    """The properties are those of RFC 8601 section 2.7.1 and RFC 6008."""
    pairs = (
        ("header.d", one.domain), ("header.i", one.identity if one.domain else ""), ("header.s", one.selector),
        ("header.a", one.algorithm), ("header.b", one.signature),
    )  # fmt: skip
    reason = one.reason + (" (the domain only tries)" if one.is_testing else "")
    if one.length is not None and one.result == Result.PASS:
        reason = f"only {one.length} octets of the body are signed{reason}"
    return AuthResult("dkim", str(one.result), one.domain, reason.strip(), tuple(pair for pair in pairs if pair[1]))
