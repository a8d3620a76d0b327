"""Messages that a stage will meet sooner or later: the usual ones, and those that are wrong, odd, or an attack.

    for name, octets in hostile_messages().items(): …
    ordinary_messages()["signed"]

They are made here rather than kept in files, so that each can be read beside its reason.

Never here: how large a message may be; what is large here is large enough to show a quadratic loop.
"""

import base64

from mailpipe.message import Field, compose
from mailpipe.testing.messages import MessageBuilder

HEAD = b"From: Ann <ann@example.org>\r\nTo: bruno@example.net\r\nSubject: Tides\r\nDate: Thu, 5 Mar 2026 09:30:00 +0000\r\n"
MIXED = HEAD + b'MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary="b"\r\n\r\n'
PDF = b"%PDF-1.4\n1 0 obj\n<< /Type /Catalog >>\nendobj\ntrailer\n<< /Root 1 0 R >>\n%%EOF\n"
PNG = base64.b64decode("iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8BQDwAEhQGAhKmMIQAAAABJRU5ErkJggg==")


def ordinary_messages() -> dict[str, bytes]:
    """Name → octets of messages as they come in every day."""
    build = MessageBuilder()
    html = "<html><body>\n<p>High water is at <b>noon</b>. <a href='https://example.org/t'>Table</a></p>\n</body></html>\n"
    reply = {"In-Reply-To": "<20260304.1@mail.example.net>", "References": "<0@a.example> <20260304.1@mail.example.net>"}
    listed = {"List-Id": "Tides <tides.example.org>", "List-Unsubscribe": "<mailto:leave@example.org>", "Precedence": "list"}
    grown = build(text="Grüße aus Malmö: Flut um zwölf, 潮汐表\n", subject="Gezeiten für März ✓", from_="Åsa Öberg <asa@example.org>")
    made = {
        "plain": build(),
        "line-feeds": build(line_end=b"\n"),
        "html": build(html=html),
        "alternative": build(text="High water is at noon.\n", html=html),
        "attachments": build(attachments=[("invoice.pdf", PDF), ("kaart.png", PNG), ("notes.txt", b"noon\n", "text/plain")]),
        "utf-8": grown,
        "reply": build(subject="Re: The tide tables for March", headers=reply),
        "list": build(headers=listed),
        "forwarded": build(attachments=[compose.enclosed(build(subject="The first one", attachments=[("a.pdf", PDF)]))]),
        "several-recipients": build(to="bruno@example.net, Desk <desk@example.net>", cc="Team: c@example.com, d@example.com;"),
        "no-subject": build(subject=None),
        "undisclosed": build(to="undisclosed-recipients:;"),
    }
    octets = {name: bytes(message) for name, message in made.items()}
    octets["received"] = (
        b"Return-Path: <ann@example.org>\r\nReceived: from mx.example.org (mx.example.org [192.0.2.7])\r\n"
        b"\tby mx.example.net with ESMTPS id 4X1\r\n\tfor <bruno@example.net>; Thu, 5 Mar 2026 09:30:02 +0000\r\n"
        b"DKIM-Signature: v=1; a=rsa-sha256; d=example.org; s=m;\r\n h=from:to:subject; bh=MTIz; b=NDU2\r\n"
    ) + octets["plain"]
    octets["signed"] = _signed()
    octets["report"] = _report()
    return octets


def _signed() -> bytes:
    text = compose.text("Paid. Ann\n", params={"format": "flowed"})
    key = compose.attachment(b"-----BEGIN PGP SIGNATURE-----\n\niQ==\n-----END PGP SIGNATURE-----\n", "application/pgp-signature", filename="sig.asc")
    params = {"protocol": "application/pgp-signature", "micalg": "pgp-sha256"}
    fields = [Field(line + b"\r\n") for line in HEAD.split(b"\r\n") if line] + [Field(b"MIME-Version: 1.0\r\n")]
    return bytes(compose.multipart("signed", [text, key], params=params, fields=fields))


def _report() -> bytes:
    return (
        b"Return-Path: <>\r\nFrom: MAILER-DAEMON@mx.example.net\r\nTo: ann@example.org\r\nSubject: Undelivered Mail\r\n"
        b"Date: Thu, 5 Mar 2026 09:31:00 +0000\r\nMessage-ID: <r1@mx.example.net>\r\nAuto-Submitted: auto-replied\r\nMIME-Version: 1.0\r\n"
        b'Content-Type: multipart/report; report-type=delivery-status; boundary="r"\r\n\r\n'
        b"--r\r\n\r\nNot delivered.\r\n--r\r\nContent-Type: message/delivery-status\r\n\r\nReporting-MTA: dns; mx.example.net\r\n\r\n"
        b"Final-Recipient: rfc822; b@example.net\r\nAction: failed\r\nStatus: 5.1.1\r\n\r\n--r\r\n"
        b"Content-Type: message/rfc822\r\n\r\n" + HEAD + b"\r\nHello\r\n--r--\r\n"
    )


def hostile_messages() -> dict[str, bytes]:
    """Name → octets of messages that break a rule, or a program that trusts them."""
    return {**_broken_headers(), **_broken_bodies(), **_large_ones(), **_attacks()}


def _broken_headers() -> dict[str, bytes]:
    return {
        "empty": b"",
        "one-line-end": b"\r\n",
        "no-header": b"\r\nHello\r\n",
        "no-empty-line": b"Subject: x\r\nTo: bruno@example.net",
        "broken-off-in-a-name": HEAD + b"Messa",
        "broken-off-in-a-fold": HEAD + b"References: <a@example.org>\r\n ",
        "line-without-a-colon": HEAD + b"this is no field\r\nX-After: 1\r\n\r\nHello\r\n",
        "blank-before-the-colon": b"Subject : x\r\nFrom : ann@example.org\r\n\r\nHello\r\n",
        "folded-first-line": b" folded: x\r\n" + HEAD + b"\r\nHello\r\n",
        "mbox-line-first": b"From ann@example.org Thu Mar  5 09:30:00 2026\r\n" + HEAD + b"\r\nHello\r\n",
        "carriage-returns-alone": (HEAD + b"\r\nHello\r\n").replace(b"\r\n", b"\r"),
        "mixed-line-ends": HEAD.replace(b"\r\n", b"\n", 2) + b"\r\n\nHello\r\nyou\n",
        "nul-octets": HEAD + b"X-Nul: a\x00b\r\n\r\nHel\x00lo\r\n",
        "octets-that-are-no-text": b"Subject: \xff\xfe\x80\r\nFrom: \xc3 <\xe9@example.org>\r\nTo: \xa0\r\n\r\n\xff\r\n",
        "fields-twice": HEAD + HEAD + b"Message-ID: <1@a.example>\r\nMessage-ID: <2@a.example>\r\n\r\nHello\r\n",
        "no-addresses": b"From: \r\nTo: ;,<>\r\nCc: <\r\nReply-To: @\r\nSubject:\r\n\r\nHello\r\n",
        "addresses-that-are-none": b"From: \"Ann\r\nTo: <<bruno@@example..net>>, (((\r\nSender: a b c\r\n\r\nHello\r\n",
        "dates-that-are-none": b"Date: 99 Foo 99999999 25:61:99 +9999\r\nReceived: ; \r\nReceived: from\r\n\r\nHello\r\n",
        "year-0": b"Date: Mon, 1 Jan 0000 00:00:00 -0000\r\nFrom: ann@example.org\r\n\r\nHello\r\n",
        "year-9999": b"Date: Fri, 31 Dec 9999 23:59:59 -2359\r\nFrom: ann@example.org\r\n\r\nHello\r\n",
        "encoded-words-that-are-none": b"Subject: =?utf-8?q?=ZZ?= =?x?b?!!!?= =?utf-8?b?w6\r\nFrom: =?no-such?q?a?= <a@example.org>\r\n\r\nx\r\n",
        "identifiers-that-are-none": HEAD + b"Message-ID: <\r\nIn-Reply-To: hello <@> >\r\nReferences: <><<a>>\r\n\r\nHello\r\n",
        "surrogates": b"Subject: =?utf-16?b?2AA=?= =?utf-8?b?7aCA?=\r\nFrom: ann@example.org\r\n\r\n\xed\xa0\x80\r\n",
    }  # fmt: skip


def _broken_bodies() -> dict[str, bytes]:
    leaf = HEAD + b"MIME-Version: 1.0\r\n"
    return {
        "type-that-is-none": leaf + b"Content-Type: ;;;=\"\r\nContent-Disposition: ==\r\n\r\nHello\r\n",
        "multipart-without-boundary": leaf + b"Content-Type: multipart/mixed\r\n\r\n--b\r\n\r\nHello\r\n--b--\r\n",
        "multipart-without-parts": MIXED + b"there is nothing here\r\n",
        "multipart-that-is-empty": MIXED,
        "multipart-without-end": MIXED + b"--b\r\nContent-Type: text/plain\r\n\r\nHello\r\n--b\r\nContent-Type: image/p",
        "end-before-the-parts": MIXED + b"--b--\r\n--b\r\n\r\nHello\r\n",
        "boundary-of-its-parent": MIXED + b'--b\r\nContent-Type: multipart/mixed; boundary="b"\r\n\r\n--b\r\n\r\nHello\r\n--b--\r\n',
        "part-without-header": MIXED + b"--b\r\n--b\r\n\r\n--b\r\nHello\r\n--b--\r\n",
        "base64-that-is-none": leaf + b"Content-Transfer-Encoding: base64\r\n\r\nSGVsb!!!G8=\r\n====\r\n\xff\r\nQQ",
        "quoted-printable-that-is-none": leaf + b"Content-Transfer-Encoding: quoted-printable\r\n\r\n=ZZ =3\r\n= \r\n=",
        "encoding-that-is-none": leaf + b"Content-Transfer-Encoding: x-rot26; yes\r\n\r\nHello\r\n",
        "encoded-multipart": MIXED.replace(b"\r\n\r\n", b"\r\nContent-Transfer-Encoding: base64\r\n\r\n") + b"LS1iDQoNCkhlbGxvDQotLWItLQ0K\r\n",
        "charset-that-is-none": leaf + b"Content-Type: text/plain; charset=\"no-such-charset\"\r\n\r\nHell\xf6\r\n",
        "charset-that-lies": leaf + b"Content-Type: text/plain; charset=utf-8\r\n\r\nGr\xfc\xdfe\r\n",
        "utf-16-text": leaf + b"Content-Type: text/plain; charset=utf-16\r\n\r\n" + "Grüße\r\n".encode("utf-16"),
        "utf-7-text": leaf + b"Content-Type: text/html; charset=utf-7\r\n\r\n+ADw-script+AD4-\r\n",
        "html-that-is-none": leaf + b"Content-Type: text/html\r\n\r\n<html><<b<!-- <p title='>&#xffffffff;&;<script>\r\n",
        "message-in-base64": leaf + b"Content-Type: message/rfc822\r\nContent-Transfer-Encoding: base64\r\n\r\n" + base64.encodebytes(HEAD + b"\r\nHello\r\n"),
        "message-that-is-empty": leaf + b"Content-Type: message/rfc822\r\n\r\n",
        "uuencoded": HEAD + b"\r\nbegin 644 ../../a.exe\r\n#0V%T\r\n`\r\nend\r\nbegin 644 b\r\nM\r\n",
        "winmail": MIXED + b'--b\r\nContent-Type: application/ms-tnef; name="winmail.dat"\r\n\r\n\x78\x9f\x3e\x22\xff\xff\r\n--b--\r\n',
    }  # fmt: skip


def _large_ones() -> dict[str, bytes]:
    nested = b"".join(b'Content-Type: multipart/mixed; boundary="%d"\r\n\r\n--%d\r\n' % (one, one) for one in range(200))
    enclosed = b"Content-Type: message/rfc822\r\n\r\n" * 100
    return {
        "long-line": HEAD + b"\r\n" + b"x" * 100_000 + b"\r\n",
        "long-subject": b"Subject: " + b"x" * 100_000 + b"\r\nFrom: ann@example.org\r\n\r\nHello\r\n",
        "long-fold": HEAD + b"X-Fold:" + b"\r\n a" * 5_000 + b"\r\n\r\nHello\r\n",
        "many-fields": HEAD + b"X-Many: 1\r\n" * 3_000 + b"\r\nHello\r\n",
        "many-recipients": b"From: ann@example.org\r\nTo: " + b",\r\n ".join(b"r%d@example.net" % one for one in range(1_000)) + b"\r\n\r\nHello\r\n",
        "many-references": HEAD + b"References:" + b"".join(b"\r\n <%d@a.example>" % one for one in range(2_000)) + b"\r\n\r\nHello\r\n",
        "many-encoded-words": b"Subject: " + b"=?utf-8?q?=C3=BC?= " * 2_000 + b"\r\nFrom: ann@example.org\r\n\r\nHello\r\n",
        "many-parts": MIXED + b"--b\r\n\r\nHello\r\n" * 1_000 + b"--b--\r\n",
        "many-parameters": HEAD + b"Content-Type: text/plain" + b"".join(b"; a*%d=x" % one for one in range(2_000)) + b"\r\n\r\nHello\r\n",
        "deep-multiparts": HEAD + b"MIME-Version: 1.0\r\n" + nested + b"\r\nHello\r\n",
        "deep-messages": HEAD + b"MIME-Version: 1.0\r\n" + enclosed + HEAD + b"\r\nHello\r\n",
        "deep-comments": b"From: " + b"(" * 10_000 + b" ann@example.org\r\nTo: " + b'"\\' * 10_000 + b"\r\n\r\nHello\r\n",
    }  # fmt: skip


def _attacks() -> dict[str, bytes]:
    def named(name: bytes, kind: bytes = b"application/pdf") -> bytes:
        head = b"--b\r\nContent-Type: " + kind + b"\r\nContent-Disposition: attachment; "
        return MIXED + head + name + b"\r\nContent-Transfer-Encoding: base64\r\n\r\n" + base64.encodebytes(PDF) + b"--b--\r\n"

    return {
        "file-name-that-climbs": named(b'filename="../../../etc/cron.d/evil.pdf"'),
        "file-name-of-windows": named(b'filename="C:\\\\TEMP\\\\aux.pdf"'),
        "file-name-with-nul": named(b"filename*=utf-8''a.exe%00.pdf"),
        "file-name-turned-round": named(b"filename*=utf-8''invoice%E2%80%AEfdp.exe"),
        "file-name-too-long": named(b'filename="' + b"x" * 5_000 + b'.pdf"'),
        "file-name-of-dots": named(b'filename=".."'),
        "file-name-that-is-an-option": named(b'filename="--help.pdf"'),
        "type-that-lies": named(b'filename="invoice.pdf.exe"', b"application/x-msdownload"),
        "subject-with-a-field-in-it": b"Subject: =?utf-8?q?a=0D=0ABcc=3A_all=40example.org?=\r\nFrom: ann@example.org\r\n\r\nHello\r\n",
        "subject-with-a-nul-in-it": b"Subject: =?utf-8?q?a=00b=1B[2J?=\r\nFrom: ann@example.org\r\n\r\nHello\r\n",
        "name-with-a-field-in-it": b"From: =?utf-8?q?a=0D=0ABcc=3A_x=40example.org?= <ann@example.org>\r\n\r\nHello\r\n",
        "address-that-is-an-option": b"From: <-oQ/tmp/x@example.org>\r\nTo: <-f@example.net>\r\n\r\nHello\r\n",
        "name-that-is-an-address": b'From: "boss@example.com" <ann@example.org>\r\nTo: bruno@example.net\r\n\r\nHello\r\n',
        "look-alike-letters": "From: ann@exаmple.org\r\nSubject: pаypal\u202e\u200b\r\n\r\nHello\r\n".encode(),
        "smuggled-message": HEAD + b"\r\nHello\r\n.\r\nMAIL FROM:<x@example.org>\r\n\n.\n\r.\r\r\n",
        "format-specifiers": b"Subject: %s%n {0} {mail.__class__} ${HOME} $(id)\r\nFrom: ann@example.org\r\n\r\n%(x)s\r\n",
        "sql-and-json": b"Subject: '); DROP TABLE tickets; --\r\nMessage-ID: <\"}',1@a.example>\r\nFrom: ann@example.org\r\n\r\n\"}\r\n",
        "pattern-that-backtracks": b"Subject: " + b"a" * 30_000 + b"!\r\nFrom: " + b"a@" * 5_000 + b"\r\n\r\n" + b"a." * 30_000 + b"@\r\n",
    }  # fmt: skip
