"""One parser in one process: reads commands on standard input, answers with the best time of several passes.

    python peers.py mailpipe < commands         # {"load": "list of files"} then {"task": "full", "seconds": 0.5} …

Tasks, the same for every peer:

    structure   the tree: every entity's type, counted
    triage      structure, and Subject, From, To, Date, Message-ID as a user sees them
    full        every field and every body decoded to text or octets; where the peer can: addresses, dates, trace
    round trip  parse and serialise; how many came back octet for octet
    modify      parse, replace Subject, serialise
"""

import json
import sys
import time
from collections.abc import Callable
from typing import Any

Task = Callable[[bytes], Any]


def mailpipe_tasks() -> dict[str, Task]:
    import mailpipe

    parse = mailpipe.parse

    def structure(octets: bytes) -> int:
        return sum(1 for _, entity in parse(octets).walk() if entity.content_type.type)

    def two_fields(octets: bytes) -> object:
        message = parse(octets)
        for _, entity in message.walk():
            entity.content_type.type
        return message.subject, message.from_

    def triage(octets: bytes) -> object:
        message = parse(octets)
        for _, entity in message.walk():
            entity.content_type
        return message.subject, list(message.from_), list(message.to), message.date, message.message_id

    def body(entity: mailpipe.Entity) -> int:
        if entity.parts:
            return 0
        return len(entity.text if entity.content_type.type == "text" else entity.octets)

    def full(octets: bytes) -> object:
        message = parse(octets)
        texts = [(entity.header.items(), body(entity)) for _, entity in message.walk()]
        addresses = message.from_, message.sender, message.reply_to, message.to, message.cc
        return texts, addresses, message.date, message.received

    def texts(octets: bytes) -> object:
        return [(entity.header.items(), body(entity)) for _, entity in parse(octets).walk()]

    def every_value(octets: bytes) -> int:
        count = 0
        for _, entity in parse(octets).walk():
            for field in entity.header:
                field.value
            count += body(entity)
        return count

    def modify(octets: bytes) -> bytes:
        message = parse(octets)
        return bytes(message.with_header(message.header.with_field("Subject", "changed")))

    return {
        "structure": structure, "triage": triage, "full": full, "round trip": lambda octets: bytes(parse(octets)),
        "modify": modify, "two fields": two_fields, "texts": texts,
        "every value": every_value,
    }  # fmt: skip


def _stdlib(policy: Any) -> dict[str, Task]:
    import email
    import email.header
    import email.policy
    import email.utils

    is_new = policy is not email.policy.compat32

    def parse(octets: bytes) -> Any:
        return email.message_from_bytes(octets, policy=policy)

    def text(value: Any) -> str:
        return str(value) if is_new else str(email.header.make_header(email.header.decode_header(value)))

    def structure(octets: bytes) -> int:
        return sum(1 for part in parse(octets).walk() if part.get_content_maintype())

    def triage(octets: bytes) -> object:
        message = parse(octets)
        for part in message.walk():
            part.get_content_type()
        if is_new:
            return [str(message[name]) for name in ("Subject", "From", "To", "Date", "Message-ID")]
        return (
            text(message["Subject"] or ""),
            email.utils.getaddresses([str(message["From"] or "")]),
            email.utils.getaddresses([str(message["To"] or "")]),
            email.utils.parsedate_tz(message["Date"] or ""),
            message["Message-ID"],
        )

    def full(octets: bytes) -> int:
        count = 0
        for part in parse(octets).walk():
            for value in part.values():
                try:
                    text(value)
                except (ValueError, LookupError, UnicodeError):
                    count += 1
            if not part.is_multipart():
                body = part.get_payload(decode=True) or b""
                if part.get_content_maintype() == "text":
                    try:
                        count += len(body.decode(part.get_content_charset() or "ascii", "replace"))
                    except LookupError:
                        count += len(body.decode("latin-1"))
        return count

    def modify(octets: bytes) -> bytes:
        message = parse(octets)
        del message["Subject"]
        message["Subject"] = "changed"
        return bytes(message.as_bytes())

    return {
        "structure": structure, "triage": triage, "full": full,
        "round trip": lambda octets: parse(octets).as_bytes(), "modify": modify,
    }  # fmt: skip


def stdlib_compat32_tasks() -> dict[str, Task]:
    import email.policy

    return _stdlib(email.policy.compat32)


def stdlib_default_tasks() -> dict[str, Task]:
    import email.policy

    return _stdlib(email.policy.default)


def fast_mail_parser_tasks() -> dict[str, Task]:
    from fast_mail_parser import parse_email

    def parse(octets: bytes) -> Any:
        return parse_email(octets)

    def triage(octets: bytes) -> object:
        message = parse(octets)
        return message.subject, message.headers.get("From"), message.headers.get("To"), message.date

    def full(octets: bytes) -> int:
        message = parse(octets)
        bodies = [*message.text_plain, *message.text_html]
        return len(message.headers) + sum(map(len, bodies)) + sum(len(one.content) for one in message.attachments)

    return {"structure": parse, "triage": triage, "full": full}


def mail_parser_tasks() -> dict[str, Task]:
    import mailparser

    def parse(octets: bytes) -> Any:
        return mailparser.parse_from_bytes(octets)

    def full(octets: bytes) -> object:
        message = parse(octets)
        return message.headers, message.body, message.attachments, message.received

    def triage(octets: bytes) -> object:
        message = parse(octets)
        return message.subject, message.from_, message.to, message.date, message.message_id

    return {"structure": parse, "triage": triage, "full": full}


def eml_parser_tasks() -> dict[str, Task]:
    import eml_parser

    reader = eml_parser.EmlParser(include_raw_body=True, include_attachment_data=True)

    def full(octets: bytes) -> object:
        return reader.decode_email_bytes(octets)

    return {"full": full}


def flanker_tasks() -> dict[str, Task]:
    from flanker import mime

    def structure(octets: bytes) -> int:
        message = mime.from_string(octets)
        return sum(1 for part in message.walk(with_self=True) if part.content_type)

    def triage(octets: bytes) -> object:
        message = mime.from_string(octets)
        return [message.headers.get(name) for name in ("Subject", "From", "To", "Date", "Message-Id")]

    def full(octets: bytes) -> int:
        count = 0
        for part in mime.from_string(octets).walk(with_self=True):
            count += sum(1 for _ in part.headers.items())
            if not part.content_type.is_multipart() and part.body:
                count += len(part.body)
        return count

    def modify(octets: bytes) -> object:
        message = mime.from_string(octets)
        message.headers["Subject"] = "changed"
        return message.to_string()

    return {
        "structure": structure, "triage": triage, "full": full,
        "round trip": lambda octets: mime.from_string(octets).to_string().encode("latin-1", "replace"), "modify": modify,
    }  # fmt: skip


def gmime_tasks() -> dict[str, Task]:
    import gi

    gi.require_version("GMime", "3.0")
    from gi.repository import GMime

    GMime.init()

    def parse(octets: bytes) -> Any:
        stream = GMime.StreamMem.new_with_buffer(octets)
        return GMime.Parser.new_with_stream(stream).construct_message(None)

    def walk(message: Any) -> list[Any]:
        found: list[Any] = []
        message.foreach(lambda parent, part, *_: found.append(part))
        return found

    def structure(octets: bytes) -> int:
        return sum(1 for part in walk(parse(octets)) if part.get_content_type())

    def triage(octets: bytes) -> object:
        message = parse(octets)
        return message.get_subject(), message.get_from(), message.get_to(), message.get_date(), message.get_message_id()

    def written(message: Any) -> bytes:
        stream = GMime.StreamMem.new()
        message.write_to_stream(None, stream)
        return bytes(stream.get_byte_array())

    def modify(octets: bytes) -> bytes:
        message = parse(octets)
        message.set_subject("changed", "utf-8")
        return written(message)

    return {
        "structure": structure, "triage": triage, "round trip": lambda octets: written(parse(octets)), "modify": modify,
    }  # fmt: skip


PEERS: dict[str, Callable[[], dict[str, Task]]] = {
    "mailpipe": mailpipe_tasks,
    "mailpipe in Python": mailpipe_tasks,  # without its compiled part
    "stdlib compat32": stdlib_compat32_tasks,
    "stdlib default": stdlib_default_tasks,
    "fast-mail-parser": fast_mail_parser_tasks,
    "mail-parser": mail_parser_tasks,
    "eml-parser": eml_parser_tasks,
    "flanker": flanker_tasks,
    "GMime": gmime_tasks,
}


def one_pass(task: Task, messages: list[bytes]) -> tuple[float, int]:
    """Seconds for one pass over the messages, and how many raised."""
    failed = 0
    started = time.perf_counter()
    for octets in messages:
        try:
            task(octets)
        except Exception:  # noqa: BLE001 - a peer that raises is counted, not stopped
            failed += 1
    return time.perf_counter() - started, failed


def retained(messages: list[bytes]) -> float:
    """Octets that mailpipe's messages keep beyond the raw ones, their structure and two fields read, per raw octet."""
    import tracemalloc

    import mailpipe

    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    kept = [mailpipe.parse(octets) for octets in messages]
    for message in kept:
        for _, entity in message.walk():
            entity.content_type
        message.subject, message.from_
    after = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    return (after - before) / sum(map(len, messages))


def main() -> None:
    """Serve one peer."""
    tasks = PEERS[sys.argv[1]]()
    messages: list[bytes] = []
    print(json.dumps(sorted(tasks)), flush=True)
    for line in sys.stdin:
        command = json.loads(line)
        if "load" in command:
            messages = []
            with open(command["load"], "rb") as pack:
                while size := pack.read(8):
                    messages.append(pack.read(int.from_bytes(size, "big")))
            print(json.dumps(len(messages)), flush=True)
            continue
        task = tasks[command["task"]]
        if command.get("retained"):
            print(json.dumps(retained(messages)), flush=True)
            continue
        if command.get("identical"):
            same = 0
            for octets in messages:
                try:
                    same += task(octets) == octets
                except Exception:  # noqa: BLE001
                    continue
            print(json.dumps(same), flush=True)
            continue
        best, failed = one_pass(task, messages)
        spent = best
        while spent < command["seconds"]:
            seconds, failed = one_pass(task, messages)
            spent += seconds
            best = min(best, seconds)
        print(json.dumps([best, failed]), flush=True)


if __name__ == "__main__":
    main()
