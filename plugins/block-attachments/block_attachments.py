"""A stage that decides: rejects or quarantines mail with attachments that nobody should open.

    [[stage]]
    use = "block-attachments"
    suffixes = [".exe", ".js", ".scr"]

Copy this file into the folder `plugins/` beside a pipeline file, or install the folder that it came in.
"""

from typing import Literal

import mailpipe


class BlockAttachments(mailpipe.Stage["BlockAttachments.Options"]):
    """Rejects or quarantines a message by the names and types of its attachments."""

    name = "block-attachments"
    reads = mailpipe.Access(body=True)
    touches = mailpipe.Access()

    class Options(mailpipe.Options):
        """What is blocked, and how."""

        suffixes: tuple[str, ...] = (".bat", ".cmd", ".com", ".exe", ".js", ".lnk", ".msi", ".scr", ".vbs")
        """Ends of file names that are blocked, whatever their capitals."""

        types: tuple[str, ...] = ("application/x-msdownload", "application/x-dosexec")
        """Media types that are blocked, such as "application/x-msdownload"."""

        on_match: Literal["reject", "quarantine"] = "reject"
        """What becomes of the mail."""

        reason: str = "attachments of this kind are not accepted here"
        """What the sender is told."""

    def process(self, mail: mailpipe.Mail) -> mailpipe.Mail | mailpipe.Verdict:
        """Decide by the first attachment that matches."""
        options = self.options
        suffixes = tuple(suffix.lower() for suffix in options.suffixes)
        types = {each.lower() for each in options.types}
        for path, entity in mail.message.walk():
            # a trailing dot or space is dropped by the system that will run the file
            name = (entity.filename or "").lower().rstrip(". ")
            if name.endswith(suffixes) or entity.content_type.value.lower() in types:
                text = f"{options.reason} (part {path or '1'})"
                if options.on_match == "reject":
                    return mailpipe.Verdict.reject(text, status="5.7.1")
                return mailpipe.Verdict.quarantine(text)
        return mail


def register(registry: mailpipe.Registry) -> None:
    """Enter the stage; called by mailpipe."""
    registry.add_stage(BlockAttachments)
