"""The built-in sources, stages and sinks; they come through the same door as every plugin.

    [project.entry-points."mailpipe.plugins"]
    bundled = "mailpipe.bundled"

Each is imported when a pipeline first uses it, so that a run pays only for what it needs.

Never here: anything but names.
"""

from mailpipe.pipeline.registry import Registry


def register(registry: Registry) -> None:
    """Enter every built-in component."""
    registry.add_lazy("source", "eml", "mailpipe.sources.eml:EmlSource")
    registry.add_lazy("source", "maildir", "mailpipe.sources.maildir:MaildirSource")
    registry.add_lazy("source", "mbox", "mailpipe.sources.mbox:MboxSource")
    registry.add_lazy("source", "stdin", "mailpipe.sources.stdio:StdinSource")

    registry.add_lazy("stage", "accept", "mailpipe.stages.decide:Accept")
    registry.add_lazy("stage", "add-header", "mailpipe.stages.add_header:AddHeader")
    registry.add_lazy("stage", "arc-seal", "mailpipe.stages.arc_seal:ArcSeal")
    registry.add_lazy("stage", "arc-verify", "mailpipe.stages.arc_verify:ArcVerify")
    registry.add_lazy("stage", "archive-copy", "mailpipe.stages.archive_copy:ArchiveCopy")
    registry.add_lazy(
        "stage", "authentication-results", "mailpipe.stages.authentication_results:AuthenticationResultsStage"
    )
    registry.add_lazy("stage", "block-types", "mailpipe.stages.block_types:BlockTypes")
    registry.add_lazy("stage", "clamav", "mailpipe.stages.clamav:Clamav")
    registry.add_lazy("stage", "decode-mime", "mailpipe.stages.decode_mime:DecodeMime")
    registry.add_lazy("stage", "decode-uuencode", "mailpipe.stages.decode_uuencode:DecodeUuencode")
    registry.add_lazy("stage", "deduplicate", "mailpipe.stages.deduplicate:Deduplicate")
    registry.add_lazy("stage", "defer", "mailpipe.stages.decide:Defer")
    registry.add_lazy("stage", "dkim-sign", "mailpipe.stages.dkim_sign:DkimSign")
    registry.add_lazy("stage", "dkim-verify", "mailpipe.stages.dkim_verify:DkimVerify")
    registry.add_lazy("stage", "dmarc", "mailpipe.stages.dmarc:Dmarc")
    registry.add_lazy("stage", "drop", "mailpipe.stages.decide:Drop")
    registry.add_lazy("stage", "expand-nested", "mailpipe.stages.expand_nested:ExpandNested")
    registry.add_lazy("stage", "external-command", "mailpipe.stages.external_command:ExternalCommand")
    registry.add_lazy("stage", "extract-attachments", "mailpipe.stages.extract_attachments:ExtractAttachments")
    registry.add_lazy("stage", "footer", "mailpipe.stages.footer:Footer")
    registry.add_lazy("stage", "html-to-text", "mailpipe.stages.html_to_text:HtmlToText")
    registry.add_lazy("stage", "http-hook", "mailpipe.stages.http_hook:HttpHook")
    registry.add_lazy("stage", "loop-check", "mailpipe.stages.loop_check:LoopCheck")
    registry.add_lazy("stage", "normalize-charset", "mailpipe.stages.normalize_charset:NormalizeCharset")
    registry.add_lazy("stage", "quarantine", "mailpipe.stages.decide:SetAside")
    registry.add_lazy("stage", "rate-limit", "mailpipe.stages.rate_limit:RateLimit")
    registry.add_lazy("stage", "re-encode", "mailpipe.stages.re_encode:ReEncode")
    registry.add_lazy("stage", "redact", "mailpipe.stages.redact:Redact")
    registry.add_lazy("stage", "redirect", "mailpipe.stages.decide:Redirect")
    registry.add_lazy("stage", "reject", "mailpipe.stages.decide:Reject")
    registry.add_lazy("stage", "remove-header", "mailpipe.stages.remove_header:RemoveHeader")
    registry.add_lazy("stage", "rename-header", "mailpipe.stages.rename_header:RenameHeader")
    registry.add_lazy("stage", "rspamd", "mailpipe.stages.rspamd:Rspamd")
    registry.add_lazy("stage", "sample", "mailpipe.stages.sample:Sample")
    registry.add_lazy("stage", "sanitize-html", "mailpipe.stages.sanitize_html:SanitizeHtml")
    registry.add_lazy("stage", "script", "mailpipe.stages.script:Script")
    registry.add_lazy("stage", "set-header", "mailpipe.stages.set_header:SetHeader")
    registry.add_lazy("stage", "spf", "mailpipe.stages.spf:Spf")
    registry.add_lazy("stage", "strip-attachments", "mailpipe.stages.strip_attachments:StripAttachments")
    registry.add_lazy("stage", "subject-tag", "mailpipe.stages.subject_tag:SubjectTag")
    registry.add_lazy("stage", "unwrap-tnef", "mailpipe.stages.unwrap_tnef:UnwrapTnef")
    registry.add_lazy("stage", "validate-headers", "mailpipe.stages.validate_headers:ValidateHeaders")

    registry.add_lazy("sink", "discard", "mailpipe.sinks.discard:DiscardSink")
    registry.add_lazy("sink", "eml", "mailpipe.sinks.eml:EmlSink")
    registry.add_lazy("sink", "lmtp", "mailpipe.sinks.smtp:LmtpSink")
    registry.add_lazy("sink", "maildir", "mailpipe.sinks.maildir:MaildirSink")
    registry.add_lazy("sink", "mbox", "mailpipe.sinks.mbox:MboxSink")
    registry.add_lazy("sink", "sendmail", "mailpipe.sinks.sendmail:SendmailSink")
    registry.add_lazy("sink", "smtp", "mailpipe.sinks.smtp:SmtpSink")
    registry.add_lazy("sink", "stdout", "mailpipe.sinks.stdio:StdoutSink")
