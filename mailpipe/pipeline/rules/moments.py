"""Conditions about the time, about chance that is none, and about where a mail came from.

Never here: clocks; the one that is asked is given.
"""

import ipaddress
import math
from datetime import time
from hashlib import blake2b
from typing import Literal
from zoneinfo import ZoneInfo

from pydantic import Field, field_validator, model_validator

from mailpipe.pipeline.mail import Mail
from mailpipe.pipeline.rules.subjects import Question
from mailpipe.pipeline.rules.texts import Table, Words, wildcard
from mailpipe.pipeline.services import Clock

Day = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
_DAYS: tuple[Day, ...] = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


class TimeSubject(Table):
    """The time at which the mail is processed."""

    after: time | None = None
    """The time of day from which it holds: "22:00"."""
    before: time | None = None
    """The time of day until which it holds; earlier than `after`, it is that of the next morning."""
    days: tuple[Day, ...] = _DAYS
    """Days of the week."""
    zone: str = "UTC"
    """The time zone: "Europe/Berlin"."""

    @field_validator("zone")
    @classmethod
    def _is_known(cls, zone: str) -> str:
        try:
            ZoneInfo(zone)
        except (ValueError, OSError) as error:  # ZoneInfoNotFoundError is a KeyError
            raise ValueError(f"{zone!r} is no time zone such as 'Europe/Berlin'") from error
        except KeyError:
            raise ValueError(f"{zone!r} is no time zone such as 'Europe/Berlin'") from None
        return zone

    @field_validator("after", "before")
    @classmethod
    def _has_no_zone(cls, moment: time | None) -> time | None:
        if moment is not None and moment.tzinfo is not None:
            raise ValueError("a time of day such as '22:00'; its zone is given by 'zone'")
        return moment

    def question(self, clock: Clock) -> Question:
        """The question."""
        zone = ZoneInfo(self.zone)

        def ask(mail: Mail, _: str | None) -> bool:
            now = clock.now().astimezone(zone)
            return _DAYS[now.weekday()] in self.days and self._holds(now.time())

        return ask

    def _holds(self, now: time) -> bool:
        after, before = self.after or time.min, self.before
        if before is None:
            return now >= after
        return after <= now < before if after <= before else now >= after or now < before


def sample(share: float) -> Question:
    """A share of all mails, the same ones in every run: their origin decides."""
    bound = math.floor(share * 2**64)

    def ask(mail: Mail, _: str | None) -> bool:
        return int.from_bytes(blake2b(mail.origin.key.encode("utf-8", "surrogatepass"), digest_size=8).digest()) < bound

    return ask


class OriginSubject(Table):
    """Where the mail was read."""

    source: str | None = None
    """The kind of source: "mbox", "maildir", "eml", "stdin"."""
    location: Words | None = None
    """The archive or file, with wildcards."""

    def question(self) -> Question:
        """The question."""
        patterns = (self.location,) if isinstance(self.location, str) else self.location or ("*",)
        tests = [wildcard(each, ignore_case=False) for each in patterns]

        def ask(mail: Mail, _: str | None) -> bool:
            origin = mail.origin
            return self.source in (None, origin.source) and any(test(origin.location) for test in tests)

        return ask


class ClientSubject(Table):
    """The SMTP client that the mail came from, as the server before us has told."""

    network: tuple[str, ...] = Field(min_length=1)
    """IP networks: ["192.0.2.0/24", "2001:db8::/32"]."""

    @field_validator("network")
    @classmethod
    def _are_networks(cls, networks: tuple[str, ...]) -> tuple[str, ...]:
        for each in networks:
            ipaddress.ip_network(each, strict=False)
        return networks

    @model_validator(mode="before")
    @classmethod
    def _takes_one(cls, given: object) -> object:
        if isinstance(given, dict) and isinstance(given.get("network"), str):
            return given | {"network": [given["network"]]}
        return given

    def question(self) -> Question:
        """The question; false where no client is known."""
        networks = [ipaddress.ip_network(each, strict=False) for each in self.network]

        def ask(mail: Mail, _: str | None) -> bool:
            client = mail.envelope.client
            try:
                address = ipaddress.ip_address(client.address if client is not None else "")
            except ValueError:
                return False
            return any(address.version == each.version and address in each for each in networks)

        return ask



