"""The only sockets of mailpipe: they drive the protocol cores of `mailpipe.smtp`.

    from mailpipe.net.sync import SmtpConnection

`endpoint` (where to, how long to wait, what a failure is called), `tls` (contexts), `stream` (a blocking socket with
deadlines), `sync` (the blocking front end of the client). A front end for asyncio has its room beside it.

Never here: rules of SMTP; messages; pipelines.
"""
