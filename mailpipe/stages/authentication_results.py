"""The stage `authentication-results`: what was found out goes on top of the header, what was forged goes (RFC 8601).

    [[stage]]
    use = "authentication-results"
    server = "mx.example.org"       # our authserv-id

It stands behind `spf`, `dkim-verify`, `dmarc` and whatever else leaves a note `AuthResult`. A field that claims to be
ours came from outside, for ours are written here: it goes (section 5), and so does one that does not say whose it is.

Never here: the checks themselves.
"""

import os
from typing import Literal

from mailpipe.auth.results import NAME, result_of, without_claiming
from mailpipe.fields.authentication import AuthenticationResults
from mailpipe.pipeline.access import Access
from mailpipe.pipeline.component import Options, Stage
from mailpipe.pipeline.mail import Changed, Mail
from mailpipe.pipeline.notes import AuthResult

_MAX_RESULTS = 100  # LIMIT: results in one field; a message may bear any number of signatures


class AuthenticationResultsOptions(Options):
    """Who we are, and which fields of others are believed."""

    server: str = ""
    """Our authserv-id, by which readers behind us know the field; by default the name of the host."""
    former_servers: tuple[str, ...] = ()
    """More names whose fields go, because readers behind us believe them."""
    remove: Literal["own", "all"] = "own"
    """Which fields go: those that claim to be of one of these servers or of nobody, or all."""
    add: bool = True
    """Whether a field of ours is written; where not, forged ones go all the same."""
    methods: tuple[str, ...] = ()
    """The methods whose results are written, such as ["spf", "dmarc"]; by default all."""


class AuthenticationResultsStage(Stage[AuthenticationResultsOptions]):
    """Writes Authentication-Results of what other stages found out, and removes forged ones."""

    name = "authentication-results"
    Options = AuthenticationResultsOptions
    reads = Access(fields=(NAME,), notes=(AuthResult,))
    touches = Access(fields=(NAME,), notes=(Changed,))
    decides = ()

    def process(self, mail: Mail) -> Mail:
        """Remove what is forged, write what is known."""
        options, header = self.options, mail.message.header
        server = options.server or os.uname().nodename
        changes: list[str] = []
        servers = None if options.remove == "all" else (server, *options.former_servers)
        header, count = without_claiming(header, servers)
        if count:
            changes.append(f"{count} {NAME} removed" + ("" if servers is None else ", which were not ours"))
        if options.add:
            results = [
                result_of(note.method, note.result, note.reason, note.properties)
                for note in mail.notes_of(AuthResult)
                if not options.methods or note.method in options.methods
            ]
            body = AuthenticationResults(server, tuple(one for one in results if one is not None)[:_MAX_RESULTS])
            header = header.with_added(NAME, body, first=True)
            changes.append(f"{NAME} added")
        if not changes:
            return mail
        notes = (Changed(self.name, what) for what in changes)
        return mail.with_message(mail.message.with_header(header)).with_note(*notes)
