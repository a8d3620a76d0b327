"""Mail that goes round in circles is stopped (RFC 5321 section 6.3): too many hops, or our own mark on it.

    rule = LoopRule(max_received=100, mark="mailpipe@mx.example.org")
    rule.complaint(mail)            # "", or why it must go no further
    mail = rule.marked(mail)        # the same with our mark on top

Never here: whether a sink is one that mail could come back from.
"""

from dataclasses import dataclass

from mailpipe.pipeline.mail import Mail

LOOP_STATUS = "5.4.6"
"""Routing loop detected (RFC 3463 section 3.5)."""


@dataclass(frozen=True, slots=True)
class LoopRule:
    """When mail has gone round too often.

    Attributes:
        max_received: Received fields at most; RFC 5321 section 6.3 asks for 100 or more.
        mark: our name in Delivered-To, "" for none: then mail leaves as it came.
    """

    max_received: int = 100
    mark: str = ""

    def complaint(self, mail: Mail) -> str:
        """Why it goes no further; "" where it may."""
        header = mail.message.header
        marks = (field.text.strip().strip("<>").lower() for field in header.all("delivered-to"))
        if self.mark and self.mark.lower() in marks:
            return f"it was here before: it bears our mark Delivered-To: {self.mark}"
        count = len(header.all("received"))
        if count > self.max_received:
            return f"it went round in circles: {count} Received fields, more than the {self.max_received} allowed"
        return ""

    def marked(self, mail: Mail) -> Mail:
        """The mail with our mark on top, where there is one to put."""
        if not self.mark:
            return mail
        message = mail.message
        return mail.with_message(message.with_header(message.header.with_added("Delivered-To", self.mark, first=True)))
