"""A sink that takes everything, BDAT as well, and keeps nothing; and a relay that delays. For measuring clients.

    python tests/benchmarks/smtp_sink.py sink PORT
    python tests/benchmarks/smtp_sink.py relay PORT TO_PORT MILLISECONDS_ROUND_TRIP
"""

import asyncio
import sys

HELLO = b"250-sink.test\r\n250-PIPELINING\r\n250-8BITMIME\r\n250-CHUNKING\r\n250 SIZE 100000000\r\n"
REPLIES = {b"MAIL": b"250 2.1.0 Ok\r\n", b"RCPT": b"250 2.1.5 Ok\r\n", b"RSET": b"250 2.0.0 Ok\r\n",
           b"DATA": b"354 End data with <CR><LF>.<CR><LF>\r\n", b"QUIT": b"221 2.0.0 Bye\r\n", b"EHLO": HELLO,
           b"HELO": b"250 sink.test\r\n"}  # fmt: skip


class Sink(asyncio.Protocol):
    """Answers all that came in one write."""

    def __init__(self):
        self.buffer, self.in_data, self.skip = b"", False, 0

    def connection_made(self, transport):
        self.transport = transport
        transport.write(b"220 sink.test ESMTP\r\n")

    def data_received(self, data):
        buffer, at, said = self.buffer + data if self.buffer else data, 0, []
        while at < len(buffer):
            if self.skip:
                step = min(self.skip, len(buffer) - at)
                self.skip -= step
                at += step
                if not self.skip:
                    said.append(b"250 2.0.0 Ok\r\n")
                continue
            if self.in_data:
                end = buffer.find(b"\r\n.\r\n", at)
                if end < 0:
                    break
                at, self.in_data = end + 5, False
                said.append(b"250 2.0.0 Ok\r\n")
                continue
            end = buffer.find(b"\r\n", at)
            if end < 0:
                break
            word = buffer[at : at + 4].upper()
            if word == b"BDAT":
                self.skip = int(buffer[at:end].split()[1])
            else:
                said.append(REPLIES.get(word, b"500 what?\r\n"))
                self.in_data = word == b"DATA"
            at = end + 2
        self.buffer = buffer[at:]
        if said:
            self.transport.write(b"".join(said))


class End(asyncio.Protocol):
    """One end of a relayed connection; what comes leaves at the other one, later."""

    def __init__(self, delay, port=0):
        self.delay, self.port, self.other, self.transport, self.early = delay, port, None, None, []

    def connection_made(self, transport):
        self.transport = transport
        if self.port:
            self.task = asyncio.ensure_future(self.dial())

    async def dial(self):
        await asyncio.sleep(2 * self.delay)
        _, other = await asyncio.get_running_loop().create_connection(lambda: End(self.delay), "127.0.0.1", self.port)
        other.other, self.other = self, other
        for data in self.early:
            other.transport.write(data)

    def data_received(self, data):
        asyncio.get_running_loop().call_later(self.delay, self.forward, data)

    def forward(self, data):
        if self.other is None:
            self.early.append(data)
        else:
            self.other.transport.write(data)

    def connection_lost(self, exc):
        asyncio.get_running_loop().call_later(self.delay, lambda: self.other and self.other.transport.close())


async def main(kind, port, to_port="0", milliseconds="0"):
    """Serve until killed."""
    delay = float(milliseconds) / 2000
    make = Sink if kind == "sink" else lambda: End(delay, int(to_port))
    server = await asyncio.get_running_loop().create_server(make, "127.0.0.1", int(port), backlog=200)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
