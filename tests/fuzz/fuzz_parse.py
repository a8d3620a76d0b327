"""Coverage-guided fuzzing of the model with atheris: no view raises, every octet comes back, edits read back.

    make fuzz                                            # hypothesis, then this for a minute
    python tests/fuzz/fuzz_parse.py -max_total_time=600 corpus/

A crash leaves a file `crash-…` in the working folder; it becomes a test before it is mended.
"""

import sys

import atheris

with atheris.instrument_imports(include=["mailpipe"]):
    import mailpipe
    from mailpipe.errors import ComposeError
    from mailpipe.message import compose
    from mailpipe.writer import WritePolicy, write

SMTP = WritePolicy(line_end=b"\r\n", encoding="8bit")


def look(octets: bytes) -> None:
    """Everything that can be asked of a message."""
    message = mailpipe.parse(octets)
    assert bytes(message) == octets
    for path, entity in message.walk():
        assert entity.raw == bytes(entity)
        entity.text, entity.octets, entity.filename, entity.disposition, entity.preamble, entity.epilogue
        for field in entity.header:
            alone = mailpipe.Field(field.raw)  # read by itself, not with the others
            assert (field.name, field.text, repr(field.value)) == (alone.name, alone.text, repr(alone.value))
            field.defects
        assert entity.header.items() == tuple((field.name, field.text) for field in entity.header)
        if path and not entity.parts and entity.span is not None:
            changed = message.replace(path, compose.text("changed", line_end=b"\n"))
            assert changed.part(path).text == "changed"
            assert mailpipe.parse(bytes(changed)).part(path).text == "changed"
    message.defects, message.date, message.to, message.received, message.references
    try:
        written = write(message, SMTP)
    except ComposeError:
        return
    assert written.count(b"\r") == written.count(b"\n") == written.count(b"\r\n")


if __name__ == "__main__":
    atheris.Setup(sys.argv, look)
    atheris.Fuzz()
