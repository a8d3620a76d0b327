import time

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mailpipe.defect import Defect
from mailpipe.fields import hop

PIECES = st.sampled_from(
    ["from a.example", "FROM", " by", "by:x", "x@by", " via ", " with ", " id ", "id", " for ", " for fork", " <ann@c.example>", "<", "<<", ">", ">>", ",", ", ,", ":", "::", "@", ";", ";;", "; ",
     "(x)", " (a (b (c) d) e)", "(((( deep ))))", "()", "(", ")", "(a; b)", "(\\))", "(a\r\n\tb)", "[192.0.2.1]", " [192.0.2.1]", "[IPv6:2001:db8::1]", "[a b]", "[", "]", "[]", "[a;b]",
     '"a b"', '"a; \\" b"', '""', '"', "\\", '\\"', "=?utf-8?q?a_(b?=", "=?", "=", "x", "7", "\u00e9", " ", "  ", "\t", "\r\n ", "\v", "\x1c", "15 Aug 2002 10:37", " Thu, 15 Aug 2002 10:37:19 -0700 (PDT)", "2019-03-27 09:33"]
)  # fmt: skip


@given(st.lists(PIECES, max_size=14).map("".join))
@example('from a, claiming to be "b; c" via SMTP by d, id 7; Sat Jul 20 23:23:40 2002')
@example("by a(b)  http://c.example Wed,  13 Jun 2001 03:59:25 -0000")
@example("from a (b; c")
@example("from a;;")
def test_a_calm_hop_is_what_the_lexer_makes_of_it(text: str) -> None:
    calm = hop.read_calm(text)
    defects: list[Defect] = []
    thorough = hop.read_words(text, defects, len(text))
    assert calm in (None, thorough)
    assert calm is None or defects == []


@pytest.mark.parametrize(
    "text",
    [
        "from a.example ([192.0.2.1] helo=b) by c.example with smtp(Exim 3.20 #3 (Debian))id 17-00; 31 May 2002 07:28:39 -0700",
        "from a [IPv6:2001:db8::1] by b [192.0.2.2] (c) with SMTP id 7 for <d@e> plus 47 more; 28 Jun 2001 02:37:52 -0400",
        'from a(192.0.2.1), claiming to be "b" via SMTP by c, id d; Sat Jul 20 23:23:40 2002',
        "from a by b (/\\##/\\ c) with esmtp for <d@e> sender: <f@g> id <h@i>; 10 Sep 2002 13:53:50 -0500 (CDT)",
        "from a by b with ESMTP id 0r Thu, 15 Aug 2002 10:37:19 -0700 (PDT)",
        "from a",
    ],
)
def test_what_hosts_write_is_calm(text: str) -> None:
    assert hop.read_calm(text) is not None


@pytest.mark.parametrize("unit", ["(", "((", "(()", '"', '"\\', '\\"', "[", "[a", "(a)", "(\\", "<", "a ", ", ", " ", "=?", "::", "((a)(b)", "\t\v"])
def test_every_repetition_takes_linear_time(unit: str) -> None:
    def cost(size: int) -> float:
        text = "from a " + unit * (size // len(unit))
        start = time.process_time()
        hop.read_calm(text + "; x")
        hop.read_calm(text + " (")
        return time.process_time() - start

    small = min(cost(8_000) for _ in range(5))
    # Four times as much; a quadratic reader would take sixteen times as long.
    assert min(cost(32_000) for _ in range(5)) < max(small, 0.002) * 10
