"""A pipeline in a folder of its own."""

from pathlib import Path

import pytest

import mailpipe
from mailpipe import Mail, Services, Verdict
from mailpipe.errors import SettingsError

FILE = '''
"""A stage in a file."""
import mailpipe

@mailpipe.stage()
def mark(mail: mailpipe.Mail) -> mailpipe.Mail:
    """Marks it."""
    return mail.with_message(mail.message.with_header("X-Mark", "1"))

def register(registry):
    registry.add_stage(mark)
'''


@mailpipe.stage("refuse-programs")
def refuse(mail: Mail) -> Mail | Verdict:
    """Refuses programs."""
    return Verdict.reject("no programs") if mail.message.attachments else mail


class Keyed(mailpipe.Stage[mailpipe.Options]):
    """Asks for a secret."""

    name = "keyed"

    def open(self, services: Services) -> None:
        self.key = services.secrets.get("own-key")

    def process(self, mail: Mail) -> Mail:
        return mail.with_message(mail.message.with_header("X-Key", self.key))


def test_mails_end_in_outcomes_and_in_the_hands_of_the_test(run_pipeline, build_message, make_mail):
    program = build_message(attachments=[("a.exe", b"MZ")])
    result = run_pipeline(
        """
        [[stage]]
        use = "refuse-programs"
        [[stage]]
        use = "extract-attachments"
        directory = "files"
        """,
        make_mail(build_message(), recipients=["desk@example.net"]),
        program,
        plugins=[refuse, refuse],
    )
    result.assert_endings("delivered", "rejected")
    assert [mail.envelope.addresses for mail in result.delivered] == [("desk@example.net",)]
    assert (result.folder / "files").is_dir() and result.outcomes[1].stage == "refuse-programs"
    with pytest.raises(AssertionError, match=r"rejected, 5.7.1 no programs \(refuse-programs\)"):
        result.assert_endings("delivered")
    with pytest.raises(AssertionError, match="2 outcomes"):
        _ = result.outcome


def test_a_file_is_a_plugin_and_a_secret_is_given(run_pipeline, tmp_path: Path):
    path = tmp_path / "mark.py"
    path.write_text(FILE)
    text = '[[stage]]\nuse = "mark"\n[[stage]]\nuse = "keyed"\n'
    result = run_pipeline(text, b"To: b@example.net\r\n\r\nHi\r\n", plugins=[path, Keyed], secrets={"own-key": "tide"})
    assert result.messages[0].header.items()[1:] == (("X-Mark", "1"), ("X-Key", "tide"))


def test_the_file_s_own_sink_delivers_on_request(run_pipeline, build_message, tmp_path: Path):
    file = tmp_path / "own.toml"
    file.write_text('[sink]\nuse = "maildir"\npath = "out"\n')
    result = run_pipeline(file, build_message(), use_sink=True, overrides=["sink.path=other"])
    assert result.outcome.ending.value == "delivered" and result.delivered == ()
    assert len(list((tmp_path / "other" / "new").iterdir())) == 1


def test_what_is_wrong_with_the_file_is_told_with_its_place(run_pipeline):
    with pytest.raises(SettingsError, match=r"pipeline.toml:3"):
        run_pipeline('\n[[stage]]\nuse = "no-such-stage"\n')
