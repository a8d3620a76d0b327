import json
from collections.abc import Callable
from pathlib import Path

Run = Callable[..., object]


def test_a_good_file_is_shown_as_a_picture(mailpipe: Run, folder: Path) -> None:
    ended = mailpipe("check", "pipeline.toml")
    assert ended.code == 0
    lines = ended.text.splitlines()
    order = [
        next(number for number, line in enumerate(lines) if words in line)
        for words in ("source  mbox", "stage 1  decode-mime", "sink  maildir")
    ]
    assert order == sorted(order)
    assert "archive.mbox" in ended.text


def test_a_complaint_names_file_line_column_key_and_the_nearest_name(mailpipe: Run, folder: Path) -> None:
    (folder / "p.toml").write_text(
        '[source]\nuse = "mbox"\npath = "x"\n[[stage]]\nuse = "decode-mimes"\n[sink]\nuse = "discard"\n'
    )
    ended = mailpipe("check", "p.toml")
    assert ended.code == 78
    assert ended.err.startswith("mailpipe: p.toml:5:")
    assert "stage.1.use: unknown stage 'decode-mimes', did you mean 'decode-mime'?" in ended.err


def test_every_complaint_is_said_at_once(mailpipe: Run, folder: Path) -> None:
    (folder / "p.toml").write_text('[source]\nuse = "mbx"\n[sink]\nuse = "discrd"\n[run]\nworkers = "many"\n')
    ended = mailpipe("check", "p.toml")
    assert ended.code == 78
    for words in ("did you mean 'mbox'?", "did you mean 'discard'?", "p.toml:6:", "3 problems"):
        assert words in ended.err


def test_json_has_every_problem(mailpipe: Run, folder: Path) -> None:
    (folder / "p.toml").write_text('[source]\nuse = "mbx"\n[sink]\nuse = "discrd"\n')
    ended = mailpipe("check", "p.toml", "--json")
    document = json.loads(ended.text)
    assert (ended.code, document["version"], document["valid"]) == (78, 1, False)
    assert [problem["nearest"] for problem in document["problems"]] == ["mbox", "discard"]
    assert document["problems"][0]["line"] == 2


def test_json_has_the_pipeline_with_its_defaults(mailpipe: Run, folder: Path) -> None:
    document = json.loads(mailpipe("check", "pipeline.toml", "--json").text)
    assert document["valid"] is True
    assert document["pipeline"]["source"]["use"] == "mbox"
    assert document["pipeline"]["run"]["workers"] == 1
    assert document["pipeline"]["limits"]["nesting_depth"] > 0


def test_a_key_can_be_set_from_the_command_line(mailpipe: Run, folder: Path) -> None:
    assert "workers = 4" in mailpipe("check", "pipeline.toml", "--set", "run.workers=4").text
    ended = mailpipe("check", "pipeline.toml", "--set", "run.wrkers=4")
    assert ended.code == 78
    assert "did you mean 'workers'?" in ended.err


def test_no_toml_says_where(mailpipe: Run, folder: Path) -> None:
    (folder / "p.toml").write_text('[source\nuse = "mbox"\n')
    ended = mailpipe("check", "p.toml")
    assert ended.code == 78
    assert ended.err.startswith("mailpipe: p.toml:1:")


def test_a_broken_plugin_beside_the_file_is_named(mailpipe: Run, folder: Path) -> None:
    (folder / "plugins").mkdir()
    (folder / "plugins" / "shout.py").write_text("1 / 0\n")
    ended = mailpipe("check", "pipeline.toml")
    assert ended.code == 78
    assert "shout" in ended.err and "ZeroDivisionError" in ended.err
    assert "Traceback" not in ended.err


def test_a_pipeline_file_comes_from_standard_input(mailpipe: Run, folder: Path) -> None:
    assert mailpipe("check", "-", octets=(folder / "pipeline.toml").read_bytes()).code == 0
