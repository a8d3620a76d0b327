"""What a pipeline costs beside the work of its stages, and what mailpipe costs before it does anything.

    python tests/benchmarks/pipeline_bench.py

Best of many turns for each figure, interleaved; times as shares of something measured in the same run.
"""

import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

TOP = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(TOP))

from mailpipe import Envelope, Fate, Options, Origin, RawMail, Receipt, Sink, Stage, parse  # noqa: E402
from mailpipe.pipeline.envelope_rule import EnvelopeRule  # noqa: E402
from mailpipe.pipeline.quarantine import Quarantine  # noqa: E402
from mailpipe.pipeline.rules import Condition, Rule  # noqa: E402
from mailpipe.pipeline.run import Engine, Line  # noqa: E402
from mailpipe.pipeline.services import SystemClock  # noqa: E402
from mailpipe.pipeline.step import Step, Way, Ways  # noqa: E402

STAGES = 10
TURNS = 3000
MESSAGE = (
    b"From: ada@example.org\r\nTo: bo@example.net\r\nSubject: high water\r\n"
    + b"X-Field: some value of ordinary length\r\n" * 22
    + b"Content-Type: multipart/alternative; boundary=b\r\n\r\n--b\r\n\r\n"
    + b"A line of text that goes on for a while.\r\n" * 50
    + b"--b\r\nContent-Type: text/html\r\n\r\n"
    + b"<p>A line of text that goes on for a while.\r\n" * 40
    + b"--b--\r\n"
)


class Nothing(Stage):
    """Does nothing."""

    name = "nothing"

    def process(self, mail):
        return mail


class Nowhere(Sink):
    """Takes everything."""

    name = "nowhere"

    def deliver(self, mail):
        return Receipt.of_all(mail.envelope.forward_paths, Fate.DELIVERED, "2.0.0")


def engine(count, rule=None):
    step = replace(Step.of(Nothing(Options())), rule=rule)
    ways = Ways(Way("", (step,) * count, Nowhere(Options())))
    return Engine(Line(ways, EnvelopeRule(), Quarantine(Path("out/bench/quarantine"))))


def overhead():
    raw = RawMail(MESSAGE, Origin("bench", "-"), Envelope.of("ada@example.org", "bo@example.net"))
    condition = Condition.model_validate({"field": {"name": "Subject", "contains": "water"}})
    engines = {"none": engine(0), "ten": engine(STAGES), "ten with a rule": engine(STAGES, Rule.of(condition, SystemClock()))}
    best = dict.fromkeys((*engines, "parse"), 1.0)
    for _ in range(TURNS):
        for name, each in engines.items():
            began = time.perf_counter()
            each.take(raw)
            best[name] = min(best[name], time.perf_counter() - began)
        began = time.perf_counter()
        message = parse(MESSAGE)
        _ = message.parts, message.subject
        best["parse"] = min(best["parse"], time.perf_counter() - began)
    print(f"a message of {len(MESSAGE):,} octets: parsed to its parts in {best['parse'] * 1e6:.1f} µs")
    print("| pipeline | a stage, µs | a stage, share of parsing |\n|---|--:|--:|")
    for name in ("ten", "ten with a rule"):
        each = (best[name] - best["none"]) / STAGES
        print(f"| {name} | {each * 1e6:.2f} | {each / best['parse']:.3f} |")


def _seconds(*command):
    best = 60.0
    for _ in range(7):
        began = time.perf_counter()
        subprocess.run([sys.executable, *command], check=True, cwd=TOP, stdout=subprocess.DEVNULL)
        best = min(best, time.perf_counter() - began)
    return best


def imports():
    bare = _seconds("-c", "")
    pydantic = _seconds("-c", "import pydantic") - bare
    model = _seconds("-c", "from pydantic import BaseModel") - bare
    mailpipe = _seconds("-c", "import mailpipe") - bare
    every = _seconds("-c", "import mailpipe; [getattr(mailpipe, name) for name in mailpipe.__all__]") - bare
    print("\n| import | share of `import pydantic` | share of `from pydantic import BaseModel` |\n|---|--:|--:|")
    for name, seconds in (("mailpipe", mailpipe), ("mailpipe and all its public names", every)):
        print(f"| {name} | {seconds / pydantic:.2f} | {seconds / model:.2f} |")
    try:
        help_ = _seconds("-m", "mailpipe", "--help")
    except subprocess.CalledProcessError:
        print("\nmailpipe --help: needs typer, which this environment has not")
    else:
        print(f"\nmailpipe --help: {help_:.2f} s, {help_ / bare:.1f} × the interpreter alone")


if __name__ == "__main__":
    overhead()
    imports()
