"""Letters with MIME structure: attachments, alternatives, signatures, messages in messages."""

from letters.files import INVOICE, LOGO, MAP, TABLE, archive, calendar, document, gif
from letters.letter import Letter, encoded_word, filler, in_base64, in_quoted_printable, letter

SMIME_SIGNATURE = """\
MIID2AYJKoZIhvcNAQcCoIIDyTCCA8UCAQExDTALBglghkgBZQMEAgEwCwYJKoZIhvcNAQcBoIIC
ADCCAfwwggGjoAMCAQICFD+wDLU6/t3hGVIC88fpL78bfGmmMAoGCCqGSM49BAMCMDMxETAPBgNV
BAMMCEFkYSBMdW5kMR4wHAYJKoZIhvcNAQkBFg9hZGFAZXhhbXBsZS5vcmcwIBcNMjYxMTIzMjEw
MjUzWhgPMjEyNjEwMzAyMTAyNTNaMDMxETAPBgNVBAMMCEFkYSBMdW5kMR4wHAYJKoZIhvcNAQkB
Fg9hZGFAZXhhbXBsZS5vcmcwWTATBgcqhkjOPQIBBggqhkjOPQMBBwNCAASOodfVzYcXfLOpmYIl
XOkx584B/Ha8JPSxoMNcylIF8tpK1XzBSKZ2fE3ZaWSZ28/wT4fk4GFogpzxr6+K80rio4GSMIGP
MB0GA1UdDgQWBBTfE46QABzK/w7eEML0pa+h5ie/0zAfBgNVHSMEGDAWgBTfE46QABzK/w7eEML0
pa+h5ie/0zAPBgNVHRMBAf8EBTADAQH/MBoGA1UdEQQTMBGBD2FkYUBleGFtcGxlLm9yZzALBgNV
HQ8EBAMCB4AwEwYDVR0lBAwwCgYIKwYBBQUHAwQwCgYIKoZIzj0EAwIDRwAwRAIgC1naQa8hDSXj
fyiNp9oAKyxhT18EOiU7NJ3Lpqjb/uYCIHgK467a5R9D1rRSE/mw5Ujkq0E65vNQeWWvvK0hZTgm
MYIBnjCCAZoCAQEwSzAzMREwDwYDVQQDDAhBZGEgTHVuZDEeMBwGCSqGSIb3DQEJARYPYWRhQGV4
YW1wbGUub3JnAhQ/sAy1Ov7d4RlSAvPH6S+/G3xppjALBglghkgBZQMEAgGggeQwGAYJKoZIhvcN
AQkDMQsGCSqGSIb3DQEHATAcBgkqhkiG9w0BCQUxDxcNMjYxMTIzMjEwMjUzWjAvBgkqhkiG9w0B
CQQxIgQgMvyTssmbeXTKXs9KwY+37qj5Ns0r+yGZWCN3DYrMIpAweQYJKoZIhvcNAQkPMWwwajAL
BglghkgBZQMEASowCwYJYIZIAWUDBAEWMAsGCWCGSAFlAwQBAjAKBggqhkiG9w0DBzAOBggqhkiG
9w0DAgICAIAwDQYIKoZIhvcNAwICAUAwBwYFKw4DAgcwDQYIKoZIhvcNAwICASgwCgYIKoZIzj0E
AwIESDBGAiEAzyxR/aM9c+4rtWt4z7NE9+Xns817uHvFeZpPv8aBjb4CIQCRrp8RuDW6UN1jqXUX
IK/d9Pe9LXSQnWBXucaZ56OL5g==
"""
"""Over the signed part of `signed-smime`, made once with `openssl cms -sign` and a throw-away key; it verifies."""


def _header(
    subject: str, content_type: str, sender: str = "ada@example.org", recipient: str = "bruno@example.net"
) -> str:
    return f"""
From: {sender}
To: {recipient}
Subject: {subject}
Date: {{date}}
Message-ID: {{id}}
MIME-Version: 1.0
Content-Type: {content_type}
"""


def _part(content_type: str, body: str, *fields: str) -> str:
    return "".join(f"{field}\n" for field in (f"Content-Type: {content_type}", *fields)) + "\n" + body


def _file(content_type: str, filename: str, octets: bytes, *fields: str) -> str:
    disposition = f'Content-Disposition: attachment; filename="{filename}"' if filename else ""
    given = [field for field in (disposition, *fields) if field]
    return _part(content_type, in_base64(octets), *given, "Content-Transfer-Encoding: base64")


def _multipart(boundary: str, *parts: str, preamble: str = "", epilogue: str = "") -> str:
    """Parts are given with the line end that belongs to the next delimiter."""
    return preamble + "".join(f"--{boundary}\n{part}" for part in parts) + f"--{boundary}--\n" + epilogue


def _mixed(name: str, subject: str, *parts: str, **more: str) -> Letter:
    boundary = f"=_{name}"
    return letter(
        name,
        _header(subject, f'multipart/mixed; boundary="{boundary}"', **more),
        _multipart(boundary, *parts),
        charset="utf-8",
        sender=more.get("sender", "ada@example.org"),
    )


PLAIN = "text/plain; charset=us-ascii"
UTF8 = "text/plain; charset=utf-8"

_INNERMOST = """From: Emil Voss <emil.voss@example.test>
To: Dmitri Orlov <dmitri@example.com>
Subject: Anchor for sale
Date: Sun, 1 Nov 2026 18:00:00 +0100
Message-ID: <anchor@example.test>

240, and you fetch it.
"""

_MIDDLE = f"""From: Dmitri Orlov <dmitri@example.com>
To: Bruno Keller <bruno@example.net>
Subject: Fwd: Anchor for sale
Date: Sun, 1 Nov 2026 19:30:00 +0000
Message-ID: <anchor.fwd@example.com>
MIME-Version: 1.0
Content-Type: multipart/mixed; boundary=middle

--middle
Content-Type: text/plain

Do we want it?
--middle
Content-Type: message/rfc822

{_INNERMOST}
--middle--
"""

LETTERS = (
    _mixed(
        "mixed-pdf-and-png",
        "Invoice and map",
        _part(PLAIN, "Here are the invoice and the map of the pier.\n\nAda\n"),
        _file('application/pdf; name="invoice-117.pdf"', "invoice-117.pdf", INVOICE),
        _file("image/png", "pier.png", MAP),
    ),
    letter(
        "alternative",
        _header("Opening hours", 'multipart/alternative; boundary="alt_1"', "museum@example.org"),
        _multipart(
            "alt_1",
            _part(
                UTF8,
                in_quoted_printable("Open daily, 10–17. Entry: 6 €.\n", "utf-8"),
                "Content-Transfer-Encoding: quoted-printable",
            ),
            _part(
                "text/html; charset=utf-8",
                in_quoted_printable("<p>Open daily, <b>10–17</b>. Entry: 6&nbsp;€.</p>\n", "utf-8"),
                "Content-Transfer-Encoding: quoted-printable",
            ),
            preamble="This message has several parts; your reader should show the best of them.\n\n",
        ),
        sender="museum@example.org",
    ),
    letter(
        "related-inline-image",
        _header(
            "The new logo", 'multipart/related; type="multipart/alternative"; boundary="rel-out"', "museum@example.org"
        ),
        _multipart(
            "rel-out",
            _part(
                'multipart/alternative; boundary="rel-in"',
                _multipart(
                    "rel-in",
                    _part(PLAIN, "The logo is red now.\n"),
                    _part(
                        "text/html; charset=us-ascii", '<p>It is <img src="cid:logo.12@example.org" alt="red">.</p>\n'
                    ),
                )
                + "\n",
            ),
            _part(
                'image/png; name="logo.png"',
                in_base64(LOGO),
                "Content-ID: <logo.12@example.org>",
                'Content-Disposition: inline; filename="logo.png"',
                "Content-Transfer-Encoding: base64",
            ),
            _part(
                "image/gif",
                in_base64(gif()),
                "Content-ID: <dot@example.org>",
                "Content-Disposition: inline",
                "Content-Transfer-Encoding: base64",
            ),
        ),
        sender="museum@example.org",
    ),
    letter(
        "signed-openpgp",
        _header(
            "Signed: the price of the anchor",
            'multipart/signed; micalg=pgp-sha256;\n protocol="application/pgp-signature"; boundary="sig=_pgp"',
        ),
        "This is an OpenPGP/MIME signed message (RFC 4880 and 3156)\n"
        + _multipart(
            "sig=_pgp",
            # every octet of this part is signed: the odd spacing and the useless encoding have to stay
            "content-type:text/plain;   charset=utf-8\nContent-Transfer-Encoding: quoted-printable\n\n"
            "The anchor costs 240 =E2=82=AC, no more.=20\n=46rom now on.\n\n",
            _part(
                'application/pgp-signature; name="signature.asc"',
                "-----BEGIN PGP SIGNATURE-----\n\n"
                + in_base64(b"\x88\x75\x04\x00" + filler("signature", 115))
                + "=Ab3x\n-----END PGP SIGNATURE-----\n",
                "Content-Description: OpenPGP digital signature",
            ),
        ),
    ),
    letter(
        "signed-smime",
        _header(
            "Signed: we buy the anchor",
            'multipart/signed; protocol="application/pkcs7-signature";\n micalg=sha-256; boundary="----smime-8F21"',
        ),
        "This is an S/MIME signed message\n\n"
        + _multipart(
            "----smime-8F21",
            "Content-Type: text/plain; charset=us-ascii\nContent-Transfer-Encoding: 7bit\n\n"
            "The museum buys the anchor for 240.\n\nAda Lund\n\n",
            'Content-Type: application/pkcs7-signature; name="smime.p7s"\nContent-Transfer-Encoding: base64\n'
            'Content-Disposition: attachment; filename="smime.p7s"\n\n' + SMIME_SIGNATURE + "\n",
        ),
    ),
    letter(
        "forwarded",
        _header("Fwd: Anchor for sale", "message/rfc822", "dmitri@example.com"),
        _INNERMOST,
        sender="dmitri@example.com",
    ),
    _mixed(
        "forwarded-twice",
        "Fwd: Fwd: Anchor for sale",
        _part(PLAIN, "What do you think of this?\n"),
        _part("message/rfc822", _MIDDLE + "\n", "Content-Disposition: inline"),
        sender="bruno@example.net",
    ),
    letter(
        "digest",
        _header("tides digest, volume 12", 'multipart/digest; boundary="-digest-"', "tides@lists.example.org"),
        _multipart(
            "-digest-",
            "\nFrom: dmitri@example.com\nSubject: Low water\nDate: Mon, 2 Nov 2026 07:00:00 +0000\n\nAt ten.\n\n",
            "\nFrom: chiara@example.com\nSubject: Re: Low water\nDate: Mon, 2 Nov 2026 07:20:00 +0000\n\nLater.\n\n",
            "Content-Type: message/rfc822\n\nFrom: emil.voss@example.test\nSubject: Re: Low water\n"
            "Date: Mon, 2 Nov 2026 07:25:00 +0000\n\nI walk either way.\n\n",
            preamble="\n",
            epilogue="End of the digest.\n",
        ),
        sender="tides-bounces@lists.example.org",
    ),
    letter(
        "bounce",
        """
Return-Path: <>
Received: by mx.example.net (Postfix) id 9C2D01; {date}
From: MAILER-DAEMON@mx.example.net (Mail Delivery System)
To: ada@example.org
Subject: Undelivered Mail Returned to Sender
Date: {date}
Message-ID: {id}
Auto-Submitted: auto-replied
MIME-Version: 1.0
Content-Type: multipart/report; report-type=delivery-status;
 boundary="9C2D01.report/mx.example.net"
""",
        _multipart(
            "9C2D01.report/mx.example.net",
            _part(
                PLAIN,
                "Your message to <gone@example.net> could not be delivered:\nuser unknown\n\n",
                "Content-Description: Notification",
            ),
            _part(
                "message/delivery-status",
                "Reporting-MTA: dns; mx.example.net\nArrival-Date: Mon, 2 Nov 2026 08:00:00 +0000\n\n"
                "Final-Recipient: rfc822; gone@example.net\nOriginal-Recipient: rfc822;gone@example.net\n"
                "Action: failed\nStatus: 5.1.1\nRemote-MTA: dns; mail.example.net\n"
                "Diagnostic-Code: smtp; 550 5.1.1 <gone@example.net>: user unknown\n\n",
                "Content-Description: Delivery report",
            ),
            _part(
                "text/rfc822-headers",
                "From: Ada Lund <ada@example.org>\nTo: gone@example.net\nSubject: Are you still there?\n\n",
                "Content-Description: Undelivered message header",
            ),
        ),
        sender="MAILER-DAEMON",
    ),
    _mixed(
        "file-names-rfc2231",
        "File names with charsets and in pieces",
        _part(PLAIN, "Three names in three ways.\n"),
        _part(
            "application/octet-stream",
            in_base64(filler("one", 90)),
            "Content-Disposition: attachment; filename*=utf-8''%E6%B8%AF%20%28map%29.bin",
            "Content-Transfer-Encoding: base64",
        ),
        _part(
            "application/octet-stream",
            in_base64(filler("two", 90)),
            "Content-Disposition: attachment;\n filename*0*=iso-8859-1'de'Gr%FC%DFe;\n"
            ' filename*1=" aus dem Hafen, ein langer Name";\n filename*2=" in Teilen.bin"',
            "Content-Transfer-Encoding: base64",
        ),
        _part(
            "application/octet-stream",
            in_base64(filler("three", 90)),
            f'Content-Disposition: attachment; filename="{encoded_word("Каюта семь.bin", "koi8-r")}"',
            "Content-Transfer-Encoding: base64",
        ),
    ),
    _mixed(
        "office-files",
        "Papers for the meeting",
        _part(UTF8, "Drei Anhänge, bitte lesen.\n", "Content-Transfer-Encoding: 8bit"),
        _part(
            "text/csv; charset=iso-8859-1; header=present",
            in_quoted_printable(TABLE.decode("latin-1"), "latin-1"),
            f"Content-Disposition: attachment; filename=ships.csv; size={len(TABLE)}",
            "Content-Transfer-Encoding: quoted-printable",
        ),
        _file("application/zip", "papers.zip", archive({"readme.txt": b"Read me first.\n", "plan/pier.png": MAP})),
        _file(
            "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
            "agenda.docx",
            document("Agenda: chairs, anchor, tides"),
        ),
    ),
    _mixed(
        "same-invoice-again",
        "Re: Invoice and map",
        _part(PLAIN, "You asked for the invoice again; it is the same, twice even.\n"),
        _file("application/pdf", "invoice-117.pdf", INVOICE),
        _file("application/pdf", "copy of invoice.pdf", INVOICE),
        sender="bruno@example.net",
        recipient="Ada Lund <ada@example.org>",
    ),
    letter(
        "invitation",
        _header("Invitation: visit to the lighthouse", 'multipart/mixed; boundary="cal"'),
        _multipart(
            "cal",
            _part(
                'multipart/alternative; boundary="cal-alt"',
                _multipart(
                    "cal-alt",
                    _part(PLAIN, "Friday the 20th at one.\n"),
                    _part(
                        "text/calendar; charset=utf-8; method=REQUEST",
                        in_base64(calendar("Visit to the lighthouse")),
                        "Content-Transfer-Encoding: base64",
                    ),
                ),
            ),
            _file("application/ics", "invite.ics", calendar("Visit to the lighthouse")),
        ),
    ),
    _mixed(
        "text-attachments",
        "Log of the night watch",
        _part(PLAIN, "Two logs, one in an older charset.\n"),
        _part(
            "text/plain; charset=utf-8",
            "02:00 nothing\n03:00 a seal\n",
            'Content-Disposition: attachment; filename="log.txt"',
        ),
        _part(
            'text/plain; charset=windows-1251; name="log-ru.txt"',
            in_base64("04:00 туман\n".encode("windows-1251")),
            "Content-Disposition: attachment",
            "Content-Transfer-Encoding: base64",
        ),
        _part("message/rfc822", _INNERMOST, "Content-Disposition: attachment; filename=anchor.eml"),
        sender="chiara@example.com",
    ),
    _mixed(
        "hostile-file-names",
        "Names that should not be trusted",
        _part(PLAIN, "Do not save these as they say.\n"),
        _file("application/octet-stream", "../../../etc/cron.d/harbour", b"* * * * * root true\n"),
        _file("application/octet-stream", "C:\\\\Windows\\\\System32\\\\con.txt", b"con\n"),
        _file("image/png", "pier.png\u202egnp.exe", MAP),
        _file("text/html", ".htaccess", b"Options -Indexes\n"),
        _file("application/octet-stream", "", b"no name at all\n", "Content-Disposition: attachment"),
        sender="emil.voss@example.test",
    ),
)
