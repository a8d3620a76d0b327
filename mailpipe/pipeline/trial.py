"""What is tried: a stage by itself, mails whose source is not told, an envelope by hand.

    settings = parse_settings(stage_alone("subject-tag"), Path("stage.toml"), registry, alone(["prefix=[list]"]))
    for raw in mails_of(["archive.mbox"], settings, registry):
        played = rehearsal.take(with_envelope(raw, settings, recipients=["bo@example.net"]))
        document = played_fields(played)

Never here: playing; see `rehearsal`.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, is_dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

from mailpipe.durable import write_all
from mailpipe.errors import OutputError
from mailpipe.message import parse
from mailpipe.pipeline.choose import sources_for
from mailpipe.pipeline.differences import Differences, EnvelopeChange
from mailpipe.pipeline.mail import Changed, RawMail
from mailpipe.pipeline.outcome import Outcome
from mailpipe.pipeline.registry import Registry
from mailpipe.pipeline.rehearsal import Played, Seen
from mailpipe.pipeline.settings import Settings
from mailpipe.smtp.envelope import Envelope

_TABLES = ("source", "stage", "route", "sink", "envelope", "limits", "run", "queue", "quarantine")


def stage_alone(name: str) -> str:
    """The text of a pipeline file with one stage, and defaults for everything else."""
    return f"[[stage]]\nuse = {json.dumps(name, ensure_ascii=False)}\n"


def alone(overrides: Sequence[str]) -> list[str]:
    """Overrides for a stage that stands alone: a key by itself is one of its options.

    >>> alone(["prefix=x", "limits.message_size=1MB"])
    ['stage.1.prefix=x', 'limits.message_size=1MB']
    """
    made = []
    for override in overrides:
        key = override.partition("=")[0]
        is_whole = "." in key and key.split(".")[0].strip() in _TABLES
        made.append(override if is_whole else f"stage.1.{override}")
    return made


def mails_of(
    paths: Sequence[str], settings: Settings, registry: Registry, limit: int | None = None
) -> Iterator[RawMail]:
    """The mails of archives, or of the source of the settings; no source is told, so that none forgets anything.

    Raises:
        InputError: an archive is missing or cannot be read.
        SettingsError: there is nothing to read.
    """
    left = limit
    for source in sources_for(paths, settings, registry):
        with closing(source):
            source.open()
            for raw in islice(source, left):
                yield raw
                left = None if left is None else left - 1
        if left == 0:
            return


def with_envelope(
    raw: RawMail, settings: Settings, sender: str | None = None, recipients: Sequence[str] = ()
) -> RawMail:
    """The mail with a sender or recipients given by hand; what is not given is as the pipeline would have it."""
    if sender is None and not recipients:
        return raw
    envelope = raw.envelope
    if envelope is None:
        envelope = settings.envelope.envelope_of(parse(raw.octets, limits=settings.limits), raw.from_line)
    if sender is not None:
        envelope = envelope.with_reverse_path(sender)
    if recipients:
        envelope = envelope.with_forward_paths(*recipients)
    return replace(raw, envelope=envelope)


def write_handed(played: Played, number: int, directory: Path) -> list[Path]:
    """Write what the sinks would be given, and the quarantine, as "0001.eml", "0001-2.eml", "0001-copies.eml".

    Raises:
        OutputError: a file cannot be written.
    """
    written = []
    octets = {played.branch(each.mail.origin): bytes(each.mail.message) for each in played.handed}
    for outcome in played.outcomes:
        if (aside := played.set_aside.get(outcome.origin.key)) is not None:
            octets[f"{played.branch(outcome.origin)}-quarantine"] = aside
    try:
        directory.mkdir(parents=True, exist_ok=True)
        for branch, content in octets.items():
            name = "-".join(piece for piece in (f"{number:04}", branch.replace("/", "-").strip("-")) if piece)
            path = directory / f"{name}.eml"
            with path.open("wb") as file:
                write_all(file.fileno(), content)
            written.append(path)
    except OSError as error:
        raise OutputError.from_os(str(error.filename or directory), error) from error
    return written


# -- plain values


def played_fields(played: Played) -> dict[str, Any]:
    """What a play came to, as plain values for JSON."""
    raw = played.raw
    return {
        "mail": str(raw.origin),
        "key": raw.origin.key,
        "size": len(raw.octets),
        "envelope": _envelope(played.envelope),
        "steps": [_seen(played, seen) for seen in played.seen],
        "outcomes": [_outcome(played, outcome) for outcome in played.outcomes],
    }


def _envelope(envelope: Envelope | None) -> dict[str, Any] | None:
    if envelope is None:
        return None
    return {"sender": envelope.reverse_path, "recipients": list(envelope.addresses)}


def _seen(played: Played, seen: Seen) -> dict[str, Any]:
    step, verdict = seen.step, seen.verdict
    changes = seen.changes
    return {
        "branch": played.branch(seen.mail.origin),
        "route": step.way,
        "number": step.number,
        "label": step.label,
        "use": step.use,
        "goto": step.goto,
        "tee": list(step.tee),
        "result": seen.word,
        "why_not": seen.why_not,
        "recipients_apart": seen.apart and [list(each) for each in seen.apart],
        "status": str(verdict.status) if verdict else None,
        "code": verdict.code if verdict else None,
        "reason": verdict.reason if verdict else "",
        "error": seen.error,
        "ms": round(seen.seconds * 1000, 3),
        "asked": seen.times,
        "made": [{"size": len(mail.message), "envelope": _envelope(mail.envelope)} for mail in seen.mails]
        if len(seen.mails) != 1 else [],
        "changes": changes_fields(changes),
        "exceeded": list(seen.exceeded),
    }  # fmt: skip


def changes_fields(changes: Differences) -> dict[str, Any]:
    """What is different, as plain values for JSON."""
    return {
        "fields": [asdict(each) for each in changes.fields],
        "order": changes.order,
        "parts": [asdict(each) for each in changes.parts],
        "body": changes.body,
        "envelope": _envelope_change(changes.envelope),
        "notes": [{"type": type(note).__name__, "text": note_text(note)} for note in changes.notes],
    }


def _envelope_change(change: EnvelopeChange) -> dict[str, Any] | None:
    return asdict(change) if change else None


def note_text(note: object) -> str:
    """A note in one line, without what is empty."""
    if isinstance(note, Changed):
        return note.what
    if not is_dataclass(note):
        return repr(note)
    shown = []
    for name in note.__dataclass_fields__:
        value = getattr(note, name, None)
        if value not in (None, "", False, (), [], {}):
            shown.append(f"{name} {dict(value) if isinstance(value, Mapping) else value!r}")
    return ", ".join(shown)


def _outcome(played: Played, outcome: Outcome) -> dict[str, Any]:
    handed = played.handed_of(outcome)
    return {
        "branch": played.branch(outcome.origin),
        "ending": outcome.ending.value,
        "status": str(outcome.status),
        "reason": outcome.reason,
        "stage": outcome.stage,
        "sink": handed.sink if handed else None,
        "route": handed.way if handed else None,
        "size": len(handed.mail.message) if handed else 0,
        "envelope": _envelope(played.envelope_of(outcome)),
        "trail": list(outcome.trail),
    }
