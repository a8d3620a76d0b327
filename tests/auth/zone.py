"""A table that answers like the DNS, for tests of what is evaluated over it."""

from ipaddress import ip_address

from mailpipe.auth.lookup import LookupFailed


class Zone:
    """A `Lookup` over a table.

    Attributes:
        table: (name, type) → records; text of TXT records.
        failing: names for which there is no answer.
        asked: every question, (name, type).
    """

    def __init__(self, table=None, failing=()):
        self.table = {(name.lower(), kind): records for (name, kind), records in (table or {}).items()}
        self.failing = set(failing)
        self.asked = []

    @classmethod
    def of(cls, **texts):
        """TXT records alone; `a_example` is a.example."""
        return cls({(name.replace("_", "."), "TXT"): [text] for name, text in texts.items()})

    def _ask(self, name, kind):
        name = name.lower().rstrip(".")
        self.asked.append((name, kind))
        if name in self.failing:
            raise LookupFailed(f"no answer for {name}")
        return tuple(self.table.get((name, kind), ()))

    def txt(self, name):
        return tuple(text if isinstance(text, bytes) else text.encode() for text in self._ask(name, "TXT"))

    def addresses(self, name, family):
        return self._ask(name, "A" if family == 4 else "AAAA")

    def mx(self, name):
        return self._ask(name, "MX")

    def ptr(self, ip):
        return self._ask(ip_address(ip).reverse_pointer, "PTR")
