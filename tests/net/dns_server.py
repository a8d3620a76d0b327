"""A name server on loopback that answers from a table, for tests of whatever asks the DNS."""

import contextlib
import socket
import threading

import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdatatype
import dns.rrset

SOA = "ns.test. root.test. 1 3600 600 86400 60"


class DnsServer:
    """Answers UDP questions; a context manager.

    Attributes:
        address: "127.0.0.1:port", as `Resolver` takes it.
        table: (name, type) → (TTL, texts of records); a name with no entry at all is NXDOMAIN.
        failing: names that get SERVFAIL; with a type, (name, type), only for that.
        silent: names that get no answer.
        signed: names whose answers carry the AD flag.
        follows: alias targets are put into the answer, as a resolver does; else the alias comes alone.
        asked: every question, (name, type).
    """

    def __init__(self):
        self.table, self.failing, self.silent, self.signed = {}, set(), set(), set()
        self.follows = True
        self.asked = []
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._socket.getsockname()[1]}"
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        with contextlib.suppress(OSError):
            self._socket.sendto(b"", self._socket.getsockname())
        self._thread.join(10)
        self._socket.close()

    def add(self, name, kind, *texts, ttl=300, signed=False):
        """Enter records; texts as in a zone file."""
        self.table[name.lower(), kind] = ttl, texts
        if signed:
            self.signed.add(name.lower())

    def add_host(self, name, *addresses, signed=False):
        """Enter the addresses of a host."""
        four, six = ([one for one in addresses if (":" in one) == is_six] for is_six in (False, True))
        if four:
            self.add(name, "A", *four, signed=signed)
        if six:
            self.add(name, "AAAA", *six, signed=signed)

    def _serve(self):
        while True:
            octets, peer = self._socket.recvfrom(65535)
            if not octets:
                return
            answer = self._answer(dns.message.from_wire(octets))
            if answer is not None:
                self._socket.sendto(answer.to_wire(), peer)

    def _answer(self, query):
        question = query.question[0]
        name = question.name.to_text(omit_final_dot=True).lower()
        kind = dns.rdatatype.to_text(question.rdtype)
        self.asked.append((name, kind))
        if name in self.silent:
            return None
        response = dns.message.make_response(query, recursion_available=True)
        if name in self.failing or (name, kind) in self.failing:
            response.set_rcode(dns.rcode.SERVFAIL)
            return response
        if name in self.signed:
            response.flags |= dns.flags.AD
        for _ in range(30):
            alias = self.table.get((name, "CNAME"))
            if alias is None:
                break
            response.answer.append(dns.rrset.from_text(name + ".", alias[0], "IN", "CNAME", *alias[1]))
            name = alias[1][0].rstrip(".").lower()
            if not self.follows:
                return response
            if any(one.name.to_text(omit_final_dot=True).lower() == name for one in response.answer):
                return response  # a circle
        found = self.table.get((name, kind))
        if found is not None:
            response.answer.append(dns.rrset.from_text(name + ".", found[0], "IN", kind, *found[1]))
            return response
        if not any(known == name for known, _ in self.table):
            response.set_rcode(dns.rcode.NXDOMAIN)
        response.authority.append(dns.rrset.from_text(".", 60, "IN", "SOA", SOA))
        return response
