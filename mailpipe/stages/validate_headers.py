"""The stage `validate-headers`: the rules of RFC 5322 and RFC 2045 as named checks, each with a policy of its own.

    [[stage]]
    use = "validate-headers"
    date_syntax = "repair"          # accept | tag | repair | reject | quarantine
    required_fields = "tag"
    single_fields = "reject"

Every finding is counted in the outcome, whatever the policy. The strictest policy that applies decides: reject before
quarantine before repair and tag.

Never here: how a check finds things (`mailpipe.stages.header_checks`) and how they are mended (`header_repairs`).
"""

from collections import Counter
from typing import Literal

from mailpipe.message import Message
from mailpipe.pipeline.access import Access
from mailpipe.pipeline.component import Options, Stage
from mailpipe.pipeline.mail import Changed, DefectsFound, Mail
from mailpipe.pipeline.verdict import Decision, Verdict
from mailpipe.stages.header_checks import CHECKS, Finding, find
from mailpipe.stages.header_repairs import repair

Action = Literal["accept", "tag", "repair", "reject", "quarantine"]


class ValidateHeadersOptions(Options):
    """One policy a check, and what a tag looks like."""

    required_fields: Action = "accept"
    """Date and From are there (RFC 5322 3.6). Repair: Date from the trace fields, From from Sender or Return-Path."""
    single_fields: Action = "accept"
    """No field stands more often than it may (RFC 5322 3.6). Repair: recipients are joined, other copies renamed."""
    date_syntax: Action = "accept"
    """Dates can be read and are not obsolete (RFC 5322 3.3). Repair: written anew, the original kept beside."""
    address_syntax: Action = "accept"
    """Addresses follow the syntax (RFC 5322 3.4). Repair: what was understood is written anew, the original kept."""
    message_id: Action = "accept"
    """There is a Message-ID of the form <left@right> (RFC 5322 3.6.4). Repair: one made of the content's digest."""
    line_length: Action = "accept"
    """No line of the header is longer than 998 octets (RFC 5322 2.1.1). Repair: folded anew."""
    line_length_recommended: Action = "accept"
    """No line of the header is longer than 78 characters (RFC 5322 2.1.1). Repair: folded anew."""
    seven_bit: Action = "accept"
    """The header is ASCII, or UTF-8 (RFC 5322 2.2, RFC 6532). Repair: encoded words."""
    folding: Action = "accept"
    """No folded line is blank (RFC 5322 3.2.2, 4.2). Repair: folded anew."""
    field_syntax: Action = "accept"
    """Every line of the header is a field (RFC 5322 2.2). Repair: made a field named X-Malformed."""
    mime_version: Action = "accept"
    """MIME-Version is 1.0 where there are Content- fields (RFC 2045 4). Repair: set."""
    content_type: Action = "accept"
    """Content-Type and Content-Transfer-Encoding fit the syntax and each other (RFC 2045 5, 6.4). Repair: rewritten."""
    tag_field: str = "X-Header-Defects"
    """The field that a tag is written to: the names of the checks, and the fields that they found."""


class ValidateHeaders(Stage[ValidateHeadersOptions]):
    """Checks the header against RFC 5322 and RFC 2045 and accepts, tags, repairs, rejects or quarantines."""

    name = "validate-headers"
    Options = ValidateHeadersOptions
    reads = Access(fields=("*",))
    touches = Access(fields=("*",), notes=(Changed, DefectsFound))

    @classmethod
    def accesses(cls, options: ValidateHeadersOptions) -> tuple[Access, Access]:
        """A repair may touch every field, a tag one, and the other policies none."""
        words = set(options.model_dump(exclude={"tag_field"}).values())
        names = ("*",) if "repair" in words else (options.tag_field,) if "tag" in words else ()
        return cls.reads, Access(fields=names, notes=cls.touches.notes)

    @classmethod
    def decisions(cls, options: ValidateHeadersOptions) -> tuple[Decision, ...]:
        """What the policies say."""
        words = set(options.model_dump(exclude={"tag_field"}).values())
        return tuple(Decision(word) for word in ("reject", "quarantine") if word in words)

    def process(self, mail: Mail) -> Mail | Verdict:
        """Check, count, decide."""
        findings = find(mail.message)
        if not findings:
            return mail
        counts = DefectsFound(dict(Counter(finding.code for finding in findings)))
        by_action: dict[str, list[Finding]] = {}
        for finding in findings:
            by_action.setdefault(getattr(self.options, finding.check), []).append(finding)
        if refused := by_action.get("reject"):
            return Verdict.reject(_reason(refused), status=CHECKS[refused[0].check].status, notes=(counts,))
        if suspect := by_action.get("quarantine"):
            return Verdict.quarantine(_reason(suspect), notes=(counts,))
        message, changes = mail.message, list[str]()
        if broken := by_action.get("repair"):
            message, changes = repair(message, broken)
        if tagged := by_action.get("tag"):
            message = self._tagged(message, tagged)
            changes.append(f"{self.options.tag_field} added")
        notes = [Changed(self.name, what) for what in changes]
        return mail.with_message(message).with_note(counts, *notes)

    def _tagged(self, message: Message, findings: list[Finding]) -> Message:
        by_check: dict[str, list[str]] = {}
        for finding in findings:
            names = by_check.setdefault(finding.check.replace("_", "-"), [])
            if finding.field and finding.field not in names and len(names) < 10:
                names.append(finding.field)
        words = [f"{check} ({', '.join(names)})" if names else check for check, names in by_check.items()]
        text = "; ".join(words).encode("ascii", "replace").decode()
        name = self.options.tag_field
        return message.with_header(message.header.without(name).with_added(name, text))


def _reason(findings: list[Finding]) -> str:
    first = findings[0]
    more = f" (and {len(findings) - 1} more)" if len(findings) > 1 else ""
    field = f"{first.field}: " if first.field else ""
    return f"{field}{first.sentence} [{first.rfc}]{more}"
