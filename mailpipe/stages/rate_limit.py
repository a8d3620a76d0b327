"""The stage `rate-limit`: so many messages in so much time for each sender, recipient, domain or client.

    [[stage]]
    use = "rate-limit"
    key = "{sender_domain}"
    count = 100
    per = "1h"
    burst = 20                      # at once; by default the whole count
    then = "defer"                  # defer | reject | quarantine | drop | note

A bucket for each key holds `burst` tokens and fills evenly; each mail takes one, or as many as it has recipients. Where
too few are left nothing is taken, and the mail is put off with 4.7.1 until there are.

Never here: how the file is kept (`state`).
"""

import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from hashlib import blake2b
from string import Formatter
from typing import Literal

from pydantic import Field as OptionField
from pydantic import model_validator

from mailpipe.pipeline.access import Access
from mailpipe.pipeline.component import LocalPath, Options, Stage
from mailpipe.pipeline.mail import Mail
from mailpipe.pipeline.services import Services
from mailpipe.pipeline.verdict import Decision, Verdict
from mailpipe.stages.state import StateFile
from mailpipe.units import Duration, duration_text

NAME = "rate-limit.db"
_SCHEMA = (
    "CREATE TABLE IF NOT EXISTS bucket (key BLOB PRIMARY KEY, tokens REAL NOT NULL, at REAL NOT NULL, full_at REAL)",
    "CREATE INDEX IF NOT EXISTS bucket_full_at ON bucket (full_at)",
)
_WORDS = ("sender", "sender_domain", "recipient", "recipient_domain", "client", "helo")
_SWEEP = 1000  # mails between two looks for buckets that are full again


@dataclass(frozen=True, slots=True)
class RateExceeded:
    """A note: a mail came too early.

    Attributes:
        key: whose bucket has too few tokens.
        seconds: how long until it has enough.
    """

    key: str
    seconds: float


class RateLimitOptions(Options):
    """How much, for whom, and what becomes of the rest."""

    key: str = "{sender}"
    """Whose mail is counted together. In braces it may name sender, sender_domain, recipient, recipient_domain, client
    (the address of the host that it came from) and helo; text alone is one bucket for all."""
    count: int = OptionField(default=100, ge=1)
    """How many pass …"""
    per: Duration = 3600.0
    """… in this time."""
    burst: int | None = OptionField(default=None, ge=1)
    """How many may pass at once; by default the whole count."""
    weigh: Literal["messages", "recipients"] = "messages"
    """What is counted. Where the key names the recipient, each recipient has a bucket, and counts once in any case."""
    then: Literal["defer", "reject", "quarantine", "drop", "note"] = "defer"
    """What becomes of mail over the limit; a note lets it go on."""
    max_keys: int = OptionField(default=100_000, ge=1000)
    """How many buckets are kept at most; those that are fullest go first."""
    state_directory: LocalPath | None = None
    """Where the file rate-limit.db lies, which workers, `mailpipe filter` and other processes share; by default the
    folder "state" in the directory of the queue, and without one in memory, for one process alone."""

    @property
    def keeps_state(self) -> bool:
        """It does."""
        return True

    @model_validator(mode="after")
    def _can_be_filled(self) -> "RateLimitOptions":
        try:
            names = [name for _, name, spec, turned in Formatter().parse(self.key) if name is not None]
            plain = all(not spec and not turned for _, name, spec, turned in Formatter().parse(self.key) if name)
        except ValueError as error:
            raise ValueError(f"key: {error}") from error
        if not plain or not set(names) <= set(_WORDS):
            raise ValueError(f"key: in braces it may name {', '.join(_WORDS)}")
        if self.per <= 0:
            raise ValueError("per: a limit needs a time, such as \"1h\"")
        return self


class RateLimit(Stage[RateLimitOptions]):
    """Lets so many messages pass in so much time, for each sender, recipient, domain or client; puts off the rest."""

    name = "rate-limit"
    Options = RateLimitOptions
    reads = Access(envelope=True)
    touches = Access(notes=(RateExceeded,))
    is_parallel = False

    @classmethod
    def may_be_parallel(cls, options: RateLimitOptions) -> bool:
        """Where the buckets lie in a file, all workers share them."""
        return options.state_directory is not None

    @classmethod
    def decisions(cls, options: RateLimitOptions) -> tuple[Decision, ...]:
        """What becomes of mail over the limit."""
        return () if options.then == "note" else (Decision(options.then),)

    def open(self, services: Services) -> None:
        """Open the file.

        Raises:
            OutputError: it cannot be made or opened.
        """
        self._clock, self._passed = services.clock, 0
        options = self.options
        self._rate = options.count / options.per
        self._burst = float(options.burst or options.count)
        self._state = StateFile(None if services.is_rehearsal else options.state_directory, NAME, _SCHEMA)
        self._state.open()

    def close(self) -> None:
        """Close the file."""
        if hasattr(self, "_state"):
            self._state.close()

    def process(self, mail: Mail) -> Mail | Verdict:
        """Take a token from each bucket that is concerned, or none at all."""
        self._passed += 1
        if self._passed % _SWEEP == 0:
            self._state.change(self._sweep)
        over = self._state.change(partial(self._take, self._wanted(mail)))
        if over is None:
            return mail
        options = self.options
        burst = "" if options.burst is None else f", {options.burst} at once"
        words = f"more than {options.count} {options.weigh} in {duration_text(options.per)}{burst} for {over.key}"
        if options.then == "note":
            return mail.with_note(over)
        if options.then == "defer":
            return Verdict.defer(f"{words}; again in {max(1, round(over.seconds))} s", status="4.7.1", notes=(over,))
        if options.then == "reject":
            return Verdict.reject(words, notes=(over,))
        if options.then == "quarantine":
            return Verdict.quarantine(words, notes=(over,))
        return Verdict.drop(words, notes=(over,))

    def _wanted(self, mail: Mail) -> dict[str, float]:
        """The buckets, and how many tokens each is to give."""
        envelope, key = mail.envelope, self.options.key
        client = envelope.client
        sender = envelope.reverse_path.casefold()
        facts = {
            "sender": sender or "<>", "sender_domain": sender.rpartition("@")[2] or "<>",
            "client": client.address if client else "", "helo": client.helo.casefold() if client else "",
        }  # fmt: skip
        recipients = [address.casefold() for address in envelope.addresses] or [""]
        wanted: dict[str, float] = {}
        if "{recipient" in key:
            for recipient in recipients:
                one = key.format(recipient=recipient, recipient_domain=recipient.rpartition("@")[2], **facts)
                wanted.setdefault(one, 0.0)
                wanted[one] += 1.0 if self.options.weigh == "recipients" or not wanted[one] else 0.0
        else:
            wanted[key.format(**facts)] = float(len(recipients)) if self.options.weigh == "recipients" else 1.0
        # what is more than a whole bucket would never pass: it takes all there is
        return {one: min(tokens, self._burst) for one, tokens in wanted.items()}

    def _take(self, wanted: dict[str, float], rows: sqlite3.Connection) -> RateExceeded | None:
        now = self._clock.now().timestamp()
        rest: list[tuple[bytes, float]] = []
        for key, tokens in wanted.items():
            digest = blake2b(f"{self.options.key}\0{key}".encode("utf-8", "surrogatepass"), digest_size=16).digest()
            row = rows.execute("SELECT tokens, at FROM bucket WHERE key = ?", (digest,)).fetchone()
            held = self._burst
            if row is not None:
                # a clock that was set back fills nothing, and empties nothing
                held = min(self._burst, row[0] + max(0.0, now - row[1]) * self._rate)
            if held < tokens - 1e-9:
                return RateExceeded(key, (tokens - held) / self._rate)
            rest.append((digest, held - tokens))
        self._write(rows, rest, now)
        return None

    def _write(self, rows: sqlite3.Connection, rest: Iterable[tuple[bytes, float]], now: float) -> None:
        rows.executemany(
            "INSERT OR REPLACE INTO bucket VALUES (?, ?, ?, ?)",
            [(digest, held, now, now + (self._burst - held) / self._rate) for digest, held in rest],
        )

    def _sweep(self, rows: sqlite3.Connection) -> None:
        """Forget buckets that are full: they are as if they had never been."""
        rows.execute("DELETE FROM bucket WHERE full_at <= ?", (self._clock.now().timestamp(),))
        (count,) = rows.execute("SELECT count(*) FROM bucket").fetchone()
        if count > self.options.max_keys:
            fullest = "SELECT key FROM bucket ORDER BY full_at LIMIT ?"
            rows.execute(f"DELETE FROM bucket WHERE key IN ({fullest})", (count - self.options.max_keys,))
