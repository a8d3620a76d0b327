"""Letters that break a rule, each its own, as the net writes them every day."""

from letters.files import MAP
from letters.letter import Letter, filler, in_base64, letter


def _broken(
    name: str, body: str | bytes, *fields: str | bytes, date: str = "{date}", separator: bytes = b"\n"
) -> Letter:
    given = [field.encode() if isinstance(field, str) else field for field in fields]
    names = {field.partition(b":")[0].lower() for field in given}
    defaults = {
        b"from": b"From: Emil Voss <emil.voss@example.test>",
        b"to": b"To: Ada Lund <ada@example.org>",
        b"subject": b"Subject: Broken: " + name.replace("-", " ").encode(),
        b"date": f"Date: {date}".encode(),
        b"message-id": b"Message-ID: {id}",
    }
    lines = [line for key, line in defaults.items() if key not in names] + given
    header = b"".join(line + b"\n" for line in lines if not line.endswith(b":omit"))
    return letter(name, header, body, charset="utf-8", sender="emil.voss@example.test", separator=separator)


_MIME = "MIME-Version: 1.0"
_8BIT = "Content-Transfer-Encoding: 8bit"

LETTERS = (
    _broken(
        "no-date-no-identifier",
        "No Date, no Message-ID, and a Subject in capitals.\n",
        "Date:omit",
        "Message-ID:omit",
        "SUBJECT: WITHOUT A DATE",
    ),
    _broken(
        "two-subjects",
        "Which of the two counts?\n",
        "Subject: The first subject",
        "Subject: The second subject",
        "Cc: bruno@example.net",
        "Cc: chiara@example.com",
    ),
    _broken(
        "bad-date", "The calendar of the writer has other months.\n", date="Friday 31st of Smarch 2026, half past nine"
    ),
    _broken(
        "no-close-delimiter",
        "--open\nContent-Type: text/plain\n\nThe rest was lost on the way.\n--open\nContent-Type: image/png\n"
        'Content-Disposition: attachment; filename="half.png"\nContent-Transfer-Encoding: base64\n\n'
        + in_base64(MAP)[:308],
        _MIME,
        'Content-Type: multipart/mixed; boundary="open"',
    ),
    _broken(
        "wrong-charset",
        "Der Käfig für die Möwe ist größer geworden, schöne Grüße.\n".encode("latin-1"),
        _MIME,
        "Content-Type: text/plain; charset=utf-8",
        _8BIT,
    ),
    _broken(
        "unknown-charset",
        "Le phare est réparé.\n".encode("latin-1"),
        _MIME,
        "Content-Type: text/plain; charset=x-harbour-8",
        _8BIT,
    ),
    _broken("undeclared-8bit", "Un café et deux crêpes, s'il vous plaît. À bientôt, Éloïse\n"),
    _broken(
        "bad-base64",
        "VGhlIHRpZGUg!!Y29tZXMgaW4*uIA==\nVGhlIHRpZGUgZ29lcyBvdXQ\n<-- this is not base64 -->\n",
        _MIME,
        "Content-Type: text/plain; charset=us-ascii",
        "Content-Transfer-Encoding: base64",
    ),
    _broken(
        "bad-quoted-printable",
        "Half =C3=A9 and half =ZZ, a lone = sign=\n\nand a soft break at the end =",
        _MIME,
        "Content-Type: text/plain; charset=utf-8",
        "Content-Transfer-Encoding: quoted-printable",
    ),
    _broken(
        "no-separator",
        "This line follows the header at once, with no empty line between.\nNor does this.\n",
        separator=b"",
    ),
    _broken(
        "line-too-long",
        "One line of more than a thousand octets: " + "tide after tide, " * 80 + "end.\n",
        "References: " + " ".join(f"<{n}.and.another.one@example.test>" for n in range(40)),
    ),
    _broken(
        "no-boundary-parameter",
        "--lost\nContent-Type: text/plain\n\nWhere does this part begin?\n--lost--\n",
        _MIME,
        "Content-Type: multipart/mixed",
    ),
    _broken(
        "boundary-not-in-body",
        "--these\nContent-Type: text/plain\n\nOther delimiters than the header says.\n--these--\n",
        _MIME,
        'Content-Type: multipart/alternative; boundary="those"',
    ),
    _broken(
        "unknown-transfer-encoding",
        "begin of something that nobody can undo\n",
        _MIME,
        "Content-Type: text/plain",
        "Content-Transfer-Encoding: x-knots",
    ),
    _broken("bare-carriage-return", b"This line has a CR\rin its middle, and one line has two:\nleft\rmiddle\rright\n"),
    _broken(
        "eight-bit-header",
        "The header was written in a hurry.\n",
        "Subject: Grüße vom Käpt'n".encode("latin-1"),
        b"From: J\xfcrgen Gro\xdf <juergen@example.net>",
    ),
    _broken(
        "bad-addresses",
        "Nobody can answer this.\n",
        "From: Emil Voss emil.voss@example.test>",
        "To: ada@example.org bruno@example.net; <chiara at example.com>",
        "Reply-To:",
        "Message-ID: no-brackets-here",
    ),
    _broken(
        "bad-content-type",
        "text without a subtype, a parameter without a value\n",
        _MIME,
        "Content-Type: text; charset",
        "Content-Disposition: ;filename=x",
        "X Broken Field: has spaces in its name",
    ),
    _broken(
        "encoded-multipart",
        in_base64(
            b"--enc\nContent-Type: text/plain\n\nA multipart must not be encoded; some senders do it.\n--enc--\n"
        ),
        _MIME,
        'Content-Type: multipart/mixed; boundary="enc"',
        "Content-Transfer-Encoding: base64",
    ),
    _broken("nobody-to-send-to", b"A draft: it has no recipient yet.\n", "To: undisclosed-recipients:;"),
    _broken(
        "binary-in-text",
        b"A picture in the text:\n"
        + filler("noise", 200).replace(b"\n", b"?").replace(b"\r", b"?").replace(b"\0", b"?")
        + b"\n",
    ),
)
