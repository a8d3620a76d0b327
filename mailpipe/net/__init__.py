"""The only sockets of mailpipe: they drive the protocol cores of `mailpipe.smtp`.

    from mailpipe.net.sync import SmtpConnection

`endpoint` (where to, how long to wait, what a failure is called), `tls` (contexts), `stream` (a blocking socket with
deadlines), `sync` (the blocking front end of the client), `aio` with `aio_link` and `aio_stream` (that for asyncio),
`resolver` and `mx` (whom to ask for a domain), `tls_policy` (MTA-STS and DANE), `pool` (connections that are kept),
`trace` (a transcript on disk).

Never here: rules of SMTP; messages; pipelines.
"""
