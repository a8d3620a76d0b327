import os
import subprocess
import sys
from pathlib import Path

import mailpipe
from mailpipe.queue.owner import Owner, is_alive, sweep

ENVIRONMENT = {**os.environ, "PYTHONPATH": str(Path(mailpipe.__file__).parent.parent)}


def test_an_owner_lives_until_it_is_closed(tmp_path):
    owner = Owner(tmp_path)
    assert is_alive(tmp_path, owner.name) and owner.is_ours
    owner.close()
    assert not is_alive(tmp_path, owner.name) and list(tmp_path.iterdir()) == []


def test_an_owner_dies_with_its_process(tmp_path):
    program = "import sys; from pathlib import Path; from mailpipe.queue.owner import Owner\n"
    program += "owner = Owner(Path(sys.argv[1])); print(owner.name, flush=True); sys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=ENVIRONMENT
    ) as process:
        name = process.stdout.readline().decode().strip()
        assert is_alive(tmp_path, name)
        process.kill()
        process.wait()
    assert not is_alive(tmp_path, name)


def test_sweeping_spares_the_living(tmp_path):
    owner = Owner(tmp_path)
    (tmp_path / "0123456789abcdef").touch()
    sweep(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [owner.name]
    owner.close()


def test_a_fork_is_another_process_and_does_not_take_the_name_away(tmp_path):
    owner = Owner(tmp_path)
    child = os.fork()
    if child == 0:
        is_ours = owner.is_ours
        owner.close()
        os._exit(1 if is_ours else 0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert is_alive(tmp_path, owner.name)
    owner.close()
