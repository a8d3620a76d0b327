import errno

import pytest

from mailpipe.cli.exit import CODES, FILTER_CODES, Terminated, explain, filter_status
from mailpipe.errors import (
    ComposeError,
    ConnectionLost,
    InputError,
    LimitExceeded,
    OutputError,
    PermanentFailure,
    PluginError,
    SettingsError,
    StageError,
    TransientFailure,
)

EVERY = [
    (SettingsError("unknown key", file="p.toml", line=3, column=1), 78),
    (PluginError("x", "x.py", "no register"), 78),
    (InputError("a.mbox", "is empty"), 66),
    (OutputError("out", "no"), 73),
    (OutputError("out", "full", is_full=True), 75),
    (LimitExceeded("message_size", 2, 1), 65),
    (ComposeError("bare CR"), 65),
    (TransientFailure("421 bye"), 75),
    (ConnectionLost("gone"), 75),
    (PermanentFailure("550 no"), 69),
    (StageError("x", "boom"), 75),
    (FileNotFoundError(errno.ENOENT, "No such file", "x"), 66),
    (PermissionError(errno.EACCES, "Permission denied", "x"), 66),
    (IsADirectoryError(errno.EISDIR, "Is a directory", "x"), 66),
    (OSError(errno.ENOSPC, "No space left on device", "x"), 75),
    (OSError(errno.EIO, "Input/output error", "x"), 74),
    (KeyboardInterrupt(), 130),
    (Terminated("SIGTERM"), 75),
    (MemoryError(), 75),
    (RecursionError(), 70),
    (ImportError("no module"), 70),
    (ValueError("boom"), 70),
]


@pytest.mark.parametrize(("error", "code"), EVERY, ids=lambda value: type(value).__name__)
def test_each_exception_has_its_code_and_a_sentence(error: BaseException, code: int) -> None:
    found, sentence = explain(error)
    assert found == code
    assert found in CODES
    assert sentence and "Traceback" not in sentence


@pytest.mark.parametrize(("error", "code"), EVERY, ids=lambda value: type(value).__name__)
def test_our_own_faults_never_have_a_status_on_which_a_server_bounces(error: BaseException, code: int) -> None:
    assert filter_status(error).is_transient


def test_the_file_and_the_remedy_are_named() -> None:
    assert explain(FileNotFoundError(errno.ENOENT, "No such file", "a.mbox"))[1] == (
        "a.mbox: there is no such file; check the path"
    )


def test_a_mail_server_bounces_on_none_of_the_codes_that_filter_uses_for_our_faults() -> None:
    assert {0, 65, 69, 75, 77} == FILTER_CODES
