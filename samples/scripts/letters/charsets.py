"""Letters in many charsets and encodings, headers with encoded words."""

import base64

from letters.letter import Letter, encoded_word, in_base64, in_quoted_printable, letter

JAPANESE = "港の博物館より\n\n海図が届きました。どうもありがとうございます。\n半角カタカナは使いません。\n\n海斗\n"
RUSSIAN = "Здравствуйте, Ада!\n\nПароход придёт в четверг, в половине восьмого утра.\n\nДмитрий\n"
FRENCH = "Chère Ada,\n\nle phare est réparé, la lanterne a été changée à Noël.\nÇa brille.\n\nÉloïse\n"
GERMAN = "Grüße aus dem Hafen!\n\nDie Boje liegt schräg, der Käfig für die Möwe ist größer geworden.\n\nJürgen\n"
KOREAN = "항구 박물관 귀중\n\n지도는 잘 받았습니다. 감사합니다.\n"
CHINESE = "港口博物馆：\n\n海图已经收到，谢谢。\n"


def _text(
    name: str,
    subject: str,
    body: str | bytes,
    charset: str,
    encoding: str,
    sender: str,
    label: str = "",
    kind: str = "text/plain",
) -> Letter:
    return letter(
        name,
        f"""
From: {sender}
To: Ada Lund <ada@example.org>
Subject: {subject}
Date: {{date}}
Message-ID: {{id}}
MIME-Version: 1.0
Content-Type: {kind}; charset={label or charset}
Content-Transfer-Encoding: {encoding}
""",
        body,
        charset=charset,
        sender=sender.rpartition("<")[2].strip("<>"),
    )


_SPLIT = "港の博物館サンプル".encode()
_HALVES = " ".join(f"=?utf-8?B?{base64.b64encode(half).decode()}?=" for half in (_SPLIT[:13], _SPLIT[13:]))

LETTERS = (
    _text(
        "utf8-8bit",
        encoded_word("Größen, цены, 値段", "utf-8"),
        "Crème brûlée 4,50 €, борщ 300 ₽, 寿司 ¥980 🍣\n",
        "utf-8",
        "8bit",
        "chiara@example.com",
    ),
    _text(
        "latin1-8bit",
        encoded_word("Grüße aus dem Hafen", "iso-8859-1", "Q"),
        GERMAN,
        "iso-8859-1",
        "8bit",
        encoded_word("Jürgen Groß", "iso-8859-1", "Q") + " <juergen@example.net>",
    ),
    _text(
        "latin1-quoted-printable",
        encoded_word("Le phare est réparé", "iso-8859-1", "Q"),
        in_quoted_printable(FRENCH, "iso-8859-1"),
        "iso-8859-1",
        "quoted-printable",
        "eloise@example.com",
    ),
    _text(
        "iso-2022-jp",
        encoded_word("海図が届きました", "iso-2022-jp"),
        JAPANESE,
        "iso-2022-jp",
        "7bit",
        encoded_word("海斗", "iso-2022-jp") + " <kaito@example.org>",
        "ISO-2022-JP",
    ),
    _text(
        "shift-jis-base64",
        encoded_word("時刻表", "shift_jis"),
        in_base64(JAPANESE.encode("shift_jis")),
        "Shift_JIS",
        "base64",
        "kaito@example.org",
    ),
    _text(
        "koi8-r",
        encoded_word("Пароход в четверг", "koi8-r"),
        RUSSIAN,
        "koi8-r",
        "8bit",
        encoded_word("Дмитрий Орлов", "koi8-r") + " <dmitri@example.com>",
        "KOI8-R",
    ),
    _text(
        "windows-1252",
        encoded_word("“Quotes” — and 10 €", "windows-1252", "Q"),
        in_quoted_printable("She said: “It costs 10 € — or ‘more’…”\n", "windows-1252"),
        "windows-1252",
        "quoted-printable",
        "emil.voss@example.test",
    ),
    _text("euc-kr", encoded_word("지도", "euc-kr"), KOREAN, "euc-kr", "8bit", "jiho@example.net", "EUC-KR"),
    _text(
        "gb2312",
        encoded_word("海图", "gb2312"),
        in_base64(CHINESE.encode("gb2312")),
        "gb2312",
        "base64",
        "wen@example.net",
        "GB2312",
    ),
    letter(
        "encoded-words",
        """
From: =?utf-8?Q?Elo=C3=AFse_Dupr=C3=A9?= <eloise@example.com>
To: =?iso-8859-1?Q?Andr=E9?= Pirard <andre@example.com>,
 =?utf-8?B?w4VzZSBOeWfDpXJk?= <aase@example.org>
Subject: =?utf-8?Q?Adjacent?= =?utf-8?Q?_words?= =?utf-8?B?IGxvc2UgdGhl?=
 =?iso-8859-1?Q?_space_between:_caf=E9?= and plain ones keep it
 {halves}
Comments: =?utf-8*fr?Q?la_mar=C3=A9e?= (a language tag, RFC 2231)
Date: {date}
Message-ID: {id}
""".replace("{halves}", _HALVES),
        "The last pair of words in the subject splits a character: each word alone is damaged,\n"
        "joined they are whole.\n",
        sender="eloise@example.com",
    ),
    _text(
        "quoted-printable-soft-breaks",
        "Soft line breaks and trailing space",
        in_quoted_printable(
            "This paragraph is written as one long line of text, so that an encoder has to break it softly, "
            "more than once, and must keep the space at its end: \n\tA tab first, an = sign, and a naïve café.\n"
            "From the pier: a line that begins with From may hide its F.\n",
            "utf-8",
        ).replace("\nFrom the pier", "\n=46rom the pier"),
        "utf-8",
        "quoted-printable",
        "chiara@example.com",
    ),
    _text(
        "base64-text",
        "Text in base64",
        in_base64(("Tide table\r\n" + "04:12  3.1 m\r\n16:40  2.9 m\r\n" * 4).encode()),
        "utf-8",
        "base64",
        "dmitri@example.com",
        "UTF-8",
    ),
    _text(
        "html-only",
        "Newsletter of the harbour",
        '<!DOCTYPE html>\n<html><head><meta charset="iso-8859-1"><title>Hafen</title></head>\n'
        "<body><h1>Bl\xe4tter vom Pier</h1><p>Zwei Boote, <b>ein</b> Anker.</p></body></html>\n",
        "iso-8859-1",
        "8bit",
        "news@example.org",
        kind="text/html",
    ),
)
