import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailpipe.codec import charset
from mailpipe.codec.labels import CODECS


@pytest.mark.parametrize(
    ("label", "codec"),
    [
        ("utf8", "utf_8"), ("UTF-8MB4", "utf_8"), ("unicode-1-1-utf-7", "utf_7"), ("iso8859-1", "cp1252"),
        ("windows-1252http-equiv", "cp1252"), ("charset=utf-8", "utf_8"), ('"koi8-r"', "koi8_r"), ("x-mac-ce", "mac_latin2"),
        ("cp50221", "iso2022_jp"), ("ks_c_5601-1987", "cp949"), ("gb2312", "gb18030"), ("shift_jis", "cp932"),
        ("ansi_x3.4-1968", "ascii"), ("iso-8859-8-i", "iso8859_8"), ("utf-8*en", "utf_8"), ("gb2312_charset", "gb18030"),
        ("ms874", "cp874"), ("x-unknown", None), ("unknown-8bit", None), ("", None), ("base64", None), ("rot13", None), ("unicode_escape", None),
        ("idna", None), ("punycode", None), ("undefined", None), ("zip", None), ("hex", None), ("mbcs", None),
    ],
)  # fmt: skip
def test_labels_name_codecs(label, codec):
    assert charset.codec_name(label) == codec


@pytest.mark.parametrize("codec", sorted(CODECS))
def test_every_codec_makes_text_and_has_a_name_that_leads_back(codec):
    assert isinstance(b"".decode(codec), str)
    assert charset.codec_name(charset.mime_name(codec)) is not None


@given(st.binary(max_size=200), st.sampled_from([None, "utf-8", "us-ascii", "iso-2022-jp", "utf-16", "big5", "x", "utf-7", "hz"]))
def test_decoding_never_raises(octets, label):
    decoded = charset.decode_text(octets, label)
    assert decoded.is_lossy == ("lossy-text" in [defect.code for defect in decoded.defects])
    assert charset.codec_name(decoded.charset) is not None


@given(st.text(max_size=100), st.sampled_from([None, "iso-8859-1", "koi8-r", "shift_jis", "utf-8", "iso-2022-jp", "no-such"]))
def test_text_comes_back(text, label):
    octets, used = charset.encode_text(text, label)
    assert octets.decode(used) == text


def test_ascii_needs_no_declaration():
    assert charset.decode_text(b"plain") == charset.DecodedText("plain", "us-ascii", "default")
    assert charset.decode_text(b"plain", "x-unknown").defects[0].code == "unknown-charset"


def test_octets_of_windows_under_a_latin_1_label_are_read_as_meant():
    assert charset.decode_text(b"it\x92s \x80 5", "iso-8859-1").text == "it’s € 5"
    assert charset.decode_text(b"it\x92s", "iso-8859-1").charset == "windows-1252"
    assert charset.decode_text(b"\xe9t\xe9", "ISO-8859-1").charset == "iso-8859-1"
    assert charset.decode_text(b"\x81", "iso-8859-1").text == "\x81"


@pytest.mark.parametrize(
    ("octets", "text"),
    [
        (b"\x1b$B-!\x1b(B x", "① x"),
        (b"\x1b$B8!\x1b(I1\x1b(B", "検ｱ"),
        ("日本語".encode("iso2022_jp"), "日本語"),
        (b"\x1b$B-!8!", "①検"),
        (b"a\x0e1\x0fb", "aｱb"),
    ],
)
def test_iso_2022_jp_is_read_with_what_windows_and_telephones_put_in(octets, text):
    assert charset.decode_text(octets, "iso-2022-jp").text == text


def test_utf_16_without_a_mark_is_read_by_its_zeros():
    assert charset.decode_text("Grüße".encode("utf-16-be"), "utf-16").text == "Grüße"
    assert charset.decode_text("Grüße".encode("utf-16-le"), "utf-16").text == "Grüße"


def test_undeclared_text_is_utf_8_where_it_fits():
    decoded = charset.decode_text("Grüße".encode())
    assert (decoded.text, decoded.known_by) == ("Grüße", "utf-8")
    assert decoded.defects[0].code == "undeclared-charset"


def test_a_byte_order_mark_decides_and_is_left_out():
    assert charset.decode_text("Grüße".encode("utf-16")).text == "Grüße"
    assert charset.decode_text(b"\xef\xbb\xbfabc\xc3\xa4", None).known_by == "bom"
    assert charset.decode_text(b"\xef\xbb\xbfabc", "utf-8").text == "abc"


def test_a_wrong_declaration_gives_way_to_utf_8():
    decoded = charset.decode_text("日本語".encode(), "us-ascii")
    assert (decoded.text, decoded.known_by, decoded.defects[0].code) == ("日本語", "utf-8", "wrong-charset")


def test_a_little_damage_does_not_change_the_charset():
    octets = "Съешь ещё этих мягких французских булок".encode()
    decoded = charset.decode_text(octets[:-1], "utf-8")
    assert (decoded.charset, decoded.known_by, decoded.is_lossy) == ("utf-8", "declared", True)
    assert decoded.text.startswith("Съешь ещё")


@pytest.mark.parametrize(
    ("text", "codec"),
    [
        ("Привет, как дела у вас", "cp1251"), ("Привет, как дела у вас", "koi8_r"), ("お問い合わせありがとうございます", "cp932"),
        ("お問い合わせありがとうございます", "euc_jp"), ("您好,这是一封测试邮件", "gb18030"), ("您好，這是一封測試郵件", "cp950"),
        ("안녕하세요 메일 테스트입니다", "cp949"), ("Mañana te envío la información", "cp1252"), ("José Muñoz", "cp1252"),
        ("Grüße aus", "cp1252"), ("Zażółć gęślą jaźń", "iso8859_2"), ("Zażółć gęślą jaźń", "cp1250"),
    ],
)  # fmt: skip
def test_undeclared_text_is_detected(text, codec):
    decoded = charset.decode_text(text.encode(codec))
    assert (decoded.text, decoded.known_by) == (text, "detected")


@pytest.mark.parametrize(
    ("meta", "codec", "text"),
    [
        ('<meta charset="iso-8859-2">', "iso8859_2", "ž"),
        ("<META HTTP-EQUIV=Content-Type CONTENT='text/html; charset=koi8-r'>", "koi8_r", "да"),
        ("<meta http-equiv='content-type'\r\n content='text/html; charset=windows-1253'/>", "cp1253", "Ω"),
    ],
)
def test_html_without_a_label_says_its_charset_itself(meta, codec, text):
    octets = f" <html><head>{meta}</head>{text}</html>".encode(codec)
    for label in (None, "us-ascii", "unknown"):
        decoded = charset.decode_text(octets, label)
        assert (decoded.text, decoded.known_by) == (octets.decode(codec), "declared")
        assert decoded.defects
    assert charset.decode_text(octets, "windows-1252").charset == "windows-1252"


@pytest.mark.parametrize("meta", ["utf-8", "us-ascii", "utf-16", "nonsense"])
def test_html_that_says_what_cannot_be_is_detected(meta):
    decoded = charset.decode_text(f"<meta charset={meta}><p>Käse".encode("latin-1"))
    assert (decoded.text[-4:], decoded.known_by) == ("Käse", "detected")


def test_text_that_speaks_of_html_is_no_html():
    octets = "Käse: <meta charset=koi8-r>".encode("latin-1")
    assert charset.decode_text(octets).text == octets.decode("latin-1")


def test_text_alone_is_the_same_text():
    for octets in (b"a", "é".encode(), b"\xe9", b"\x1b$B8!\x1b(B"):
        for label in ("utf-8", "iso-2022-jp", "x"):
            assert charset.text_of(octets, label) == charset.decode_text(octets, label).text


@given(st.binary(max_size=60), st.sampled_from(["", "us-ascii", "utf-8", "iso-8859-1", "shift_jis", "iso-2022-jp", "x-odd"]))
def test_text_in_a_hurry_is_the_same_text(octets, label):
    for one in (octets, b"\xef\xbb\xbf" + octets, b"\x1b$B8!\x1b(B" + octets):
        assert charset.text_in(one, label) == charset.decode_text(one, label).text


@pytest.mark.parametrize("often", [1, 2000])
@pytest.mark.parametrize("signs", ["’", "’“”", "’“”–…€", "\x81", "\x81’"])
def test_signs_of_windows_are_read_whether_few_or_many(signs, often):
    text = "It s a long way to the text with signs in it. " * 100 + signs * often
    octets = b"".join(bytes([ord(sign)]) if ord(sign) < 256 else sign.encode("cp1252") for sign in text)
    for label in ("iso-8859-1", "windows-1252"):
        assert charset.decode_text(octets, label).text == text


def test_a_text_of_cyrillic_with_a_few_octets_broken_stays_utf_8_without_declaration():
    octets = "Съешь ещё этих мягких французских булок".encode() + b"\xff and \xff"
    decoded = charset.decode_text(octets)
    assert (decoded.charset, decoded.known_by, decoded.text.count("\ufffd")) == ("utf-8", "utf-8", 2)
