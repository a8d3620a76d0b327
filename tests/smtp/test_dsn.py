"""What a sender wants to be told, from words to parameters (RFC 3461)."""

import pytest

from mailpipe.errors import LocalProtocolError
from mailpipe.smtp.dsn import asking, envelope_identifier, original_recipient, parse_notify, parse_ret
from mailpipe.smtp.envelope import Envelope


def test_words_become_parameters():
    asked = asking(
        Envelope.of("a@x.test", "b@x.test", "c@x.test"), notify="Failure, delay", ret="hdrs", envid="a=b c",
        original_recipients=["b+1@y.test", ""],
    )  # fmt: skip
    assert [path.notify for path in asked.forward_paths] == [("FAILURE", "DELAY")] * 2
    assert [path.orcpt for path in asked.forward_paths] == ["rfc822;b+2B1@y.test", None]
    assert (asked.parameters.ret, asked.parameters.envid) == ("HDRS", "a+3Db+20c")
    assert asking(asked) == asked and asking(asked, notify="", ret="", envid="") == asked


@pytest.mark.parametrize("text", ["never,success", "", "sometimes", "success,,delay", "success\r\nRSET"])
def test_what_is_no_notify_is_refused(text):
    with pytest.raises(LocalProtocolError):
        parse_notify(text)


def test_other_words_are_refused():
    for call, text in [
        (parse_ret, "some"), (parse_ret, ""), (envelope_identifier, ""), (envelope_identifier, "x" * 101),
        (envelope_identifier, "a\r\nb"), (envelope_identifier, "ä"), (original_recipient, ""),
        (original_recipient, "a\0@x.test"), (original_recipient, "a" * 400),
    ]:  # fmt: skip
        with pytest.raises(LocalProtocolError):
            call(text)
    with pytest.raises(LocalProtocolError, match="one for each"):
        asking(Envelope.of("", "b@x.test"), original_recipients=["a@x.test", "b@x.test"])


def test_an_original_recipient_beyond_ascii_is_said_in_ascii():
    assert original_recipient("zoë=1@x.test") == "utf-8;zo\\x{EB}\\x{3D}1@x.test"
