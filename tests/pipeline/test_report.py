"""The numbers of a run."""

import json

import pytest

from mailpipe.pipeline.mail import AttachmentSaved, Origin
from mailpipe.pipeline.outcome import Ending, Outcome
from mailpipe.pipeline.report import RunReport, Tally
from mailpipe.status import EnhancedStatus


def outcome(ending, **more):
    return Outcome(Origin("list", "a", 7), ending, EnhancedStatus(2, 0, 0), "why", **more)


def test_the_counts_are_those_of_the_outcomes():
    tally = Tally("pipe", workers=2, journal="j")
    saved = AttachmentSaved("1", "a", "out/x/a", "a/b", 5, "00")
    tally.count([outcome(Ending.DELIVERED, defects={"bare-lf": 2}, attachments=(saved,), size_in=10, size_out=12)])
    tally.count([outcome(Ending.SPLIT, size_in=4), outcome(Ending.QUEUED, size_in=3, size_out=3), outcome(Ending.DROPPED)])
    report = tally.report()
    assert (report.entered, report.emitted) == (2, 2) and report.is_balanced
    assert {ending.value: count for ending, count in report.endings.items() if count} == {
        "delivered": 1, "queued": 1, "split": 1, "dropped": 1
    }  # fmt: skip
    assert (report.octets_in, report.octets_out, report.defects) == (14, 15, {"bare-lf": 2})
    assert (report.attachments, report.attachment_octets, report.attachment_folders) == (1, 5, ("out/x",))
    assert [(notice.ending, notice.mail) for notice in report.notices] == [(Ending.QUEUED, "a:7")]


def test_it_is_json_and_back():
    tally = Tally("pipe")
    tally.count([outcome(Ending.REJECTED)])
    text = tally.report().model_dump_json()
    assert json.loads(text)["endings"]["rejected"] == 1
    assert json.loads(text)["exit_code"] == 1
    computed = {"messages_per_second", "octets_per_second", "exit_code"}
    again = RunReport.model_validate({key: value for key, value in json.loads(text).items() if key not in computed})
    assert again.model_dump_json() == text


@pytest.mark.parametrize(
    ("endings", "more", "code"),
    [
        ({}, {}, 0),
        ({Ending.DELIVERED: 1, Ending.QUEUED: 1, Ending.QUARANTINED: 1, Ending.DROPPED: 1}, {}, 0),
        ({Ending.FAILED: 1}, {}, 1),
        ({Ending.REJECTED: 1}, {}, 1),
        ({Ending.FAILED: 1, Ending.DEFERRED: 1}, {}, 75),
        ({Ending.DEFERRED: 1}, {"signal": 15}, 143),
        ({}, {"signal": 2}, 130),
        ({}, {"signal": 2, "error": "disk full", "error_code": 75}, 75),
    ],
)
def test_the_exit_code_says_the_worst(endings, more, code):
    assert RunReport(endings=endings, **more).exit_code == code


def test_only_the_first_hundred_are_noticed():
    tally = Tally()
    for _ in range(150):
        tally.count([outcome(Ending.FAILED)])
    assert len(tally.report().notices) == 100 and tally.report().endings[Ending.FAILED] == 150
