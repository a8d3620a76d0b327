"""Letters without MIME structure: plain text, lists, addresses, trace fields, quoting."""

import binascii

from letters.letter import letter

LETTERS = (
    letter(
        "plain-ascii",
        """
Return-Path: <ada@example.org>
Received: from desk.example.org (desk.example.org [192.0.2.10])
\tby mx.example.net with ESMTPS id 4Sx1Jk2
\tfor <bruno@example.net>; {date}
From: Ada Lund <ada@example.org>
To: Bruno Keller <bruno@example.net>
Subject: The key of the lighthouse
Date: {date}
Message-ID: {id}
""",
        """Bruno,

the key hangs behind the barometer. The third step is loose.

Ada
-- \nHarbour Museum, Pier 4
""",
    ),
    letter(
        "empty-body",
        """
From: ada@example.org
To: bruno@example.net
Subject: Boat is in (nothing more to say)
Date: {date}
Message-ID: {id}
""",
        "",
    ),
    letter(
        "from-lines-in-the-body",
        """
From: Bruno Keller <bruno@example.net>
To: Ada Lund <ada@example.org>
Cc: Chiara Conti <chiara@example.com>
Subject: Re: The key of the lighthouse
Date: {date}
Message-ID: {id}
In-Reply-To: <202611020815.plain-ascii@harbour.example.org>
References: <202611020815.plain-ascii@harbour.example.org>
""",
        """On Monday Ada Lund wrote:
> the key hangs behind the barometer.

From the barometer I have it now. These lines begin with the word that an
mbox must quote, with and without quotation marks of their own:

From here to the pier it is a mile.
>From there back it is another.
>>From both together I am tired.

Bruno
""",
        sender="bruno@example.net",
    ),
    letter(
        "format-flowed",
        """
From: Chiara Conti <chiara@example.com>
To: ada@example.org
Subject: A long paragraph that flows
Date: {date}
Message-ID: {id}
MIME-Version: 1.0
Content-Type: text/plain; charset=us-ascii; format=flowed; delsp=no
Content-Transfer-Encoding: 7bit
""",
        """> Is the paragraph one line or many? The writer says one, and the \n> wire says many.

It flows: every line but the last ends with a space, and a reader may \njoin them at will. A line \
that begins with a space or with the word \n From is stuffed with one more space.

-- \nChiara
""",
        sender="chiara@example.com",
    ),
    letter(
        "mailing-list",
        """
Return-Path: <tides-bounces+bruno=example.net@lists.example.org>
Received: from lists.example.org (lists.example.org [198.51.100.7])
\tby mx.example.net (Postfix) with ESMTPS id 7F3A21C0
\tfor <bruno@example.net>; Tue, 3 Nov 2026 10:02:11 +0100 (CET)
Received: from localhost (localhost [127.0.0.1])
\tby lists.example.org with ESMTP id 51B02E; Tue, 3 Nov 2026 09:02:10 +0000
Received: from pier4.example.com ([203.0.113.44] helo=pier4.example.com)
\tby lists.example.org with esmtp (Exim 4.96)
\tid 1q2w3e-0001Ab-7Z for tides@lists.example.org;
\tTue, 03 Nov 2026 09:02:09 +0000
From: Dmitri Orlov <dmitri@example.com>
To: tides@lists.example.org
Reply-To: tides@lists.example.org
Subject: [tides] High water on the 24th
Date: {date}
Message-ID: {id}
List-Id: Tides and currents <tides.lists.example.org>
List-Unsubscribe: <https://lists.example.org/tides/leave>,
 <mailto:tides-leave@lists.example.org?subject=leave>
List-Unsubscribe-Post: List-Unsubscribe=One-Click
List-Post: <mailto:tides@lists.example.org>
List-Archive: <https://lists.example.org/tides/>
List-Help: <mailto:tides-request@lists.example.org?subject=help>
Precedence: list
Sender: tides-bounces@lists.example.org
Errors-To: tides-bounces@lists.example.org
""",
        """High water on the 24th at 04:12 and 16:40, 3.1 m over datum.

Dmitri
_______________________________________________
tides mailing list
tides@lists.example.org
""",
        sender="tides-bounces@lists.example.org",
    ),
    letter(
        "long-references",
        "\nFrom: ada@example.org\nTo: tides@lists.example.org, bruno@example.net\nSubject: Re: [tides] High water\n"
        "Date: {date}\nMessage-ID: {id}\nIn-Reply-To: <part17.of.a.long.thread@lists.example.org>\nReferences:"
        + "".join(f" <part{n:02}.of.a.long.thread@lists.example.org>\n" for n in range(1, 18)),
        "Seventeen answers later: yes, 04:12 it is.\n",
    ),
    letter(
        "groups-in-to",
        """
From: "Lund, Ada" <ada@example.org>
To: Keepers: Bruno Keller <bruno@example.net>, chiara@example.com;,
 Silent partners:;
Cc: "Emil \\"Knot\\" Voss" <emil.voss@example.test>,
 dmitri@example.com (Dmitri, when he is ashore)
Subject: Meeting of the keepers
Date: {date}
Message-ID: {id}
""",
        "Wednesday at eight, in the boat house. Groups bring their own chairs.\n",
    ),
    letter(
        "blind-copy",
        """
From: ada@example.org
To: bruno@example.net
Bcc: auditor@example.com
Subject: The cash box
Date: {date}
Message-ID: {id}
X-Priority: 2
""",
        "The cash box holds 118.50. The auditor reads this too, and you do not see it.\n",
    ),
    letter(
        "resent-and-obsolete",
        """
Resent-From: Bruno Keller <bruno@example.net>
Resent-To: chiara@example.com
Resent-Date: {date}
Resent-Message-ID: {id}
From: Pete(A nice \\) chap) <pete(his account)@silly.test(his host)>
To : Mary Smith <@node.test,@hub.test:mary@example.net>, , jdoe@test   . example.org
Date: 21 Nov 97 09:55:06 EST
Subject: Written long ago, sent again today
Message-ID: <5678.21-Nov-1997@example.com>
""",
        "A two-digit year, a named zone, a route, comments, an empty list member, a space\nbefore a colon.\n",
        sender="bruno@example.net",
    ),
    letter(
        "several-authors",
        """
From: Ada Lund <ada@example.org>, Bruno Keller <bruno@example.net>
Sender: Ada Lund <ada@example.org>
Reply-To: keepers@example.org
To: chiara@example.com
Subject: We wrote this one together
Date: {date}
Message-ID: {id}
Comments: Two authors need a Sender field
Keywords: keepers, boat house, chairs
""",
        ".\n..two dots and one dot begin these lines\n.signature\nThe chairs are ours.\n",
    ),
    letter(
        "uuencoded",
        """
From: Emil Voss <emil.voss@example.test>
To: ada@example.org
Subject: Chart of 1994 (uuencoded, as we did it then)
Date: {date}
Message-ID: {id}
""",
        "The chart as text:\n\nbegin 644 chart.txt\n"
        + "".join(
            binascii.b2a_uu(chunk).decode()
            for chunk in (b"North: rocks. East: more rocks. South: sa", b"nd. West: the way home.\n")
        )
        + "`\nend\n\nEmil\n",
        sender="emil.voss@example.test",
    ),
    letter(
        "smtputf8-addresses",
        """
From: Åse Nygård <åse@example.org>
To: 海図 <kaizu@例え.test>, bruno@example.net
Subject: Grüße von der Brücke 🚢
Date: {date}
Message-ID: {id}
MIME-Version: 1.0
Content-Type: text/plain; charset=utf-8
Content-Transfer-Encoding: 8bit
""",
        "Header fields in UTF-8 need a server that speaks SMTPUTF8 (RFC 6531).\nSmørbrød, さようなら.\n",
        charset="utf-8",
        sender="bruno@example.net",
    ),
)
