"""What is personal in a text, by its form and its check digits, and patterns that an operator writes.

    for span in find(text, finders): span.start, span.stop, span.name

Built in: email, phone, iban (ISO 13616, checked), credit-card (ISO/IEC 7812, checked), ipv4, ipv6, us-ssn. They take
linear time. A pattern of an operator is run by RE2, which cannot be led into endless work; `re` can.

Never here: what takes the place of what is found.
"""

import ipaddress
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import NamedTuple

from mailpipe.errors import ConfigError


class Span(NamedTuple):
    """A place in a text.

    Attributes:
        start, stop: in characters.
        name: of the pattern.
    """

    start: int
    stop: int
    name: str


Finder = Callable[[str], Iterable[tuple[int, int]]]

_EMAIL = re.compile(
    r"(?<![\w.%+'-])[\w.%+'-]{1,64}@(?:[\w-]{1,63}\.){1,8}[^\W\d_][\w-]{0,22}[^\W_](?![\w-])"
)
# No group may be cut in two ways: what has no end here would be tried in thousands of cuts.
_BETWEEN = r"(?:[ ./-]| ?\([0-9]{1,5}\)[ ./-]?)"
_PHONE = re.compile(
    r"(?<![\w.+/-])(?:"
    rf"(?:\+|00)[1-9][0-9]{{0,14}}+(?>(?:{_BETWEEN}[0-9]{{1,14}}+){{0,6}})"  # international (E.123)
    r"|(?:\(0[0-9]{1,5}\) ?|0[0-9]{2,5}[/ -])[0-9]{2,8}+(?>(?:[ .-][0-9]{2,8}+){0,4})"
    r"|(?:\([2-9][0-9]{2}\) ?|[2-9][0-9]{2}[.-])[2-9][0-9]{2}[.-][0-9]{4}"  # North America
    r")(?!\w)"
)
_IBAN = re.compile(r"(?<![A-Za-z0-9])([A-Za-z]{2})[0-9]{2}(?=[ A-Za-z0-9])")
_DIGITS = re.compile(r"(?<![0-9])[0-9](?>(?:[ \u00a0-]?[0-9])*)")
_GROUP = re.compile("[0-9]+")
_OCTET = "(?:25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])"
_IPV4 = re.compile(rf"(?<![\w.])(?:{_OCTET}\.){{3}}{_OCTET}(?![\w])(?!\.[0-9])")
_IPV6 = re.compile(r"(?<![\w:.])[0-9A-Fa-f:][0-9A-Fa-f:.]{1,44}(?![\w:])")
_SSN = re.compile(r"(?<![0-9-])(?!000|666|9)[0-9]{3}-(?!00)[0-9]{2}-(?!0000)[0-9]{4}(?![0-9-])")
_SURROGATE = re.compile("[\ud800-\udfff]")

# Length of an IBAN by country (SWIFT IBAN registry).
_BY_LENGTH = {
    15: "NO", 16: "BE", 18: "DK FO FI GL NL SD", 19: "MK SI", 20: "AT BA EE KZ LT LU XK", 21: "CH HR LI LV",
    22: "BG BH CR DE GB GE IE ME RS VA", 23: "AE GI IL IQ OM SO TL", 24: "AD CZ ES MD PK RO SA SE SK TN VG",
    25: "LY PT ST", 26: "IS TR", 27: "BI DJ FR GR IT MC MR SM", 28: "AL AZ BY CY DO GT HU LB NI PL SV",
    29: "BR EG PS QA UA", 30: "JO KW MU YE", 31: "MT SC", 32: "LC", 33: "RU",
}  # fmt: skip
_LENGTHS = {code: length for length, codes in _BY_LENGTH.items() for code in codes.split()}


def _by(pattern: "re.Pattern[str]") -> Finder:
    return lambda text: (found.span() for found in pattern.finditer(text))


def _digits(text: str) -> str:
    return "".join(one for one in text if "0" <= one <= "9")


def is_luhn(digits: str) -> bool:
    """Whether the last digit checks the others (ISO/IEC 7812-1 annex B).

    >>> is_luhn("4111111111111111"), is_luhn("4111111111111112")
    (True, False)
    """
    total = sum(map(int, digits[-1::-2])) + sum(sum(divmod(2 * int(one), 10)) for one in digits[-2::-2])
    return total % 10 == 0


def is_iban(text: str) -> bool:
    """Whether letters and digits are an IBAN of their country's length with the right check digits (ISO 13616).

    >>> is_iban("DE89370400440532013000"), is_iban("DE88370400440532013000")
    (True, False)
    """
    text = text.upper()
    if len(text) != _LENGTHS.get(text[:2]) or not text.isascii() or not text.isalnum():
        return False
    return int("".join(str(int(one, 36)) for one in text[4:] + text[:4])) % 97 == 1


def _ibans(text: str) -> Iterator[tuple[int, int]]:
    for found in _IBAN.finditer(text):
        length = _LENGTHS.get(found[1].upper())
        if length is None:
            continue
        stop, signs = found.start(), list[str]()
        while len(signs) < length and stop < len(text):
            one = text[stop]
            if one in " -\u00a0" and signs and text[stop - 1] not in " -\u00a0":
                stop += 1
                continue
            if not (one.isascii() and one.isalnum()):
                break
            signs.append(one)
            stop += 1
        if is_iban("".join(signs)) and not (stop < len(text) and text[stop].isalnum()):
            yield found.start(), stop


def _cards(text: str) -> Iterator[tuple[int, int]]:
    """Numbers of cards: one group of digits, or groups of three to seven that stand together."""
    for run in _DIGITS.finditer(text):
        groups = list(_GROUP.finditer(text, run.start(), run.end()))
        place = 0
        while place < len(groups):
            digits, best = "", -1
            for last in range(place, len(groups)):
                digits += groups[last][0]
                if len(digits) > 19 or (last > place and not 3 <= len(groups[last][0]) <= 7):
                    break
                if len(digits) >= 12 and "2" <= digits[0] <= "6" and len(set(digits)) > 1 and is_luhn(digits):
                    best = last
            if best >= 0:
                yield groups[place].start(), groups[best].end()
            place = max(best, place) + 1


def _phones(text: str) -> Iterator[tuple[int, int]]:
    for found in _PHONE.finditer(text):
        number = found[0]
        while len(_digits(number)) > 15:  # E.164; what follows is another number
            cut = max(number.rfind(one) for one in " ./-()")
            if cut < 0:
                break
            number = number[:cut]
        if 7 <= len(_digits(number)) <= 15:
            yield found.start(), found.start() + len(number)


def _is_ipv6(text: str) -> bool:
    if text.count(":") < 2:
        return False
    try:
        ipaddress.IPv6Address(text.rstrip("."))
    except ValueError:
        return False
    return len(text) > 3  # "::" and "::1" are nobody's


def _ipv6(text: str) -> Iterator[tuple[int, int]]:
    for found in _IPV6.finditer(text):
        address = found[0].rstrip(".")
        if address.endswith(":") and not address.endswith("::"):  # the end of a clause
            address = address[:-1]
        if _is_ipv6(address):
            yield found.start(), found.start() + len(address)


BUILT_IN: dict[str, Finder] = {
    "email": _by(_EMAIL),
    "phone": _phones,
    "iban": _ibans,
    "credit-card": _cards,
    "ipv4": _by(_IPV4),
    "ipv6": _ipv6,
    "us-ssn": _by(_SSN),
}
"""Name → what finds it."""


def of_operator(patterns: Mapping[str, str]) -> dict[str, Finder]:
    """Finders for patterns in RE2's syntax.

    Raises:
        ConfigError: google-re2 is not installed, or a pattern is none.
    """
    if not patterns:
        return {}
    try:
        import re2  # an extra; who writes no patterns of his own does without
    except ImportError as error:
        raise ConfigError(
            "patterns of your own are run by RE2, which no text can lead into endless work, and it is not installed; "
            'run: pip install "mailpipe[re2]"'
        ) from error
    options = re2.Options()
    options.log_errors = False
    made: dict[str, Finder] = {}
    for name, pattern in patterns.items():
        try:
            compiled = re2.compile(pattern, options)
        except re2.error as error:
            words = error.args[0].decode("utf-8", "replace") if isinstance(error.args[0], bytes) else error
            raise ConfigError(
                f"the pattern {name!r} cannot be used: {words} (look-around and back references are not known to RE2)"
            ) from error
        made[name] = lambda text, compiled=compiled: (  # type: ignore[misc]
            found.span() for found in compiled.finditer(text)
        )
    return made


def find(text: str, finders: Mapping[str, Finder]) -> list[Span]:
    """Every place of every pattern, in order, without overlaps: of two the earlier, else the longer."""
    if not text:
        return []
    if _SURROGATE.search(text):
        text = _SURROGATE.sub("\ufffd", text)
    found = [Span(start, stop, name) for name, finder in finders.items() for start, stop in finder(text)]
    found.sort(key=lambda span: (span.start, -span.stop))
    kept: list[Span] = []
    for span in found:
        if span.stop > span.start and (not kept or span.start >= kept[-1].stop):
            kept.append(span)
    return kept
