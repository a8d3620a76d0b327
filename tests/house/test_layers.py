"""The floors: imports run downward only, nothing runs in a circle, each outside package has its own doors.

An import inside a function, or for the type checker alone, counts like one at the top of the file.
"""

import ast
import subprocess
import sys

GROUND = {"status", "units", "defect", "limits", "errors", "durable", "crew", "frozen", "native"}
FORMAT = {"wire", "codec", "fields", "parser", "message", "writer", "auth"}

FLOORS: dict[str, int] = {
    **dict.fromkeys(GROUND, 0),
    "wire": 1,
    "codec": 2, "smtp": 2,
    "fields": 3, "net": 3, "queue": 3, "archive": 3,
    "parser": 4,
    "message": 5,
    "writer": 6, "auth": 6,
    "pipeline": 7,
    "sources": 8, "stages": 8, "sinks": 8, "plugins": 8,
    "bundled": 9, "testing": 9,
    "cli": 10,
    "__main__": 11,
    "": 11,
}
"""Room → floor. A room may import its own modules and those of lower floors, less what NEVER takes away."""

NEVER: dict[str, set[str]] = {
    "smtp": FORMAT - {"wire"},
    "net": FORMAT - {"wire"},
    "queue": FORMAT - {"wire"} | {"net"},
    "archive": FORMAT - {"wire"} | {"smtp", "net", "queue"},
    "parser": {"smtp", "net", "queue", "archive"},
    "fields": {"smtp"},
    "message": {"smtp", "net", "queue", "archive"},
    "writer": {"smtp", "net", "queue", "archive"},
    "auth": {"smtp", "net", "queue", "archive"},
    "pipeline": {"net"},
    "stages": {"queue"},
    "plugins": {"net", "queue", "archive", "smtp", *FORMAT},
    "bundled": {"net", "queue", "archive", "smtp", *FORMAT},
    "__main__": set(FLOORS) - {"cli"},
}
"""Lower rooms that are nevertheless out of bounds: FORMAT and TRANSFER do not know each other."""

GROUND_MAY: dict[str, set[str]] = {"errors": {"status", "defect"}, "limits": {"units"}, "defect": {"status"}}
"""Neighbours on the ground floor."""

NET_DOORS = ("mailpipe/net/", "mailpipe/cli/", "mailpipe/sinks/smtp", "mailpipe/sinks/lmtp", "mailpipe/sources/smtp",
             # a stage that asks a server
             "mailpipe/stages/clamav", "mailpipe/stages/http_exchange", "mailpipe/stages/lookups",
             # an event loop for async stages, and none of its sockets
             "mailpipe/pipeline/async_stage")
"""Where the rooms above may open a connection."""

OUTSIDE: dict[str, tuple[str, ...]] = {
    # in fields/ and message/ only where pydantic itself asks for a schema; see the test on importing FORMAT
    "pydantic": (
        "mailpipe/units.py", "mailpipe/fields/", "mailpipe/message/", "mailpipe/pipeline/", "mailpipe/sources/", "mailpipe/stages/", "mailpipe/sinks/",
        "mailpipe/plugins.py", "mailpipe/testing/", "mailpipe/cli/",
    ),
    "pydantic_core": ("mailpipe/units.py", "mailpipe/fields/", "mailpipe/message/", "mailpipe/pipeline/", "mailpipe/cli/"),
    "compression": ("mailpipe/archive/opened.py",),
    "zstandard": ("mailpipe/archive/opened.py",),
    "chardet": ("mailpipe/codec/charset.py",),
    "pybase64": ("mailpipe/codec/base64.py",),
    "dns": ("mailpipe/net/resolver.py",),
    "cryptography": ("mailpipe/net/tls.py", "mailpipe/auth/keys.py"),
    "publicsuffixlist": ("mailpipe/auth/organization.py",),
    "idna": ("mailpipe/smtp/", "mailpipe/fields/", "mailpipe/writer/", "mailpipe/wire/", "mailpipe/codec/", "mailpipe/auth/domain.py"),
    "typer": ("mailpipe/cli/",),
    "rich": ("mailpipe/cli/",),
    "psycopg": ("mailpipe/queue/postgres_connection.py", "mailpipe/queue/postgres_owner.py"),
    "nh3": ("mailpipe/stages/sanitize_html.py",),
    "re2": ("mailpipe/stages/redact_patterns.py",),
    "pytest": ("mailpipe/testing/",),
    "aiosmtpd": (),
}
"""Package → the only places that may import it."""

NO_CLOCK_NO_CHANCE = FORMAT | {"smtp"} | GROUND


def _target(name, modules):
    """The module that an imported name belongs to, None when it is not ours."""
    while name and name not in modules:
        name = name.rpartition(".")[0]
    return modules.get(name)


def test_every_room_has_a_floor(modules):
    assert {module.room for module in modules.values()} <= set(FLOORS)


def test_imports_run_downward_only(modules):
    wrong = []
    for module in modules.values():
        for name, line in module.imports():
            if name.split(".")[0] != "mailpipe":
                continue
            target = _target(name, modules)
            assert target is not None, f"{module.place}:{line} imports {name}, which is not there"
            if target.room == module.room or module.room == "":
                continue
            allowed = (
                target.room in GROUND_MAY.get(module.room, set())
                if module.room in GROUND
                else FLOORS[target.room] < FLOORS[module.room] and target.room not in NEVER.get(module.room, set())
            )
            if name == "mailpipe.__version__" or (target.room == "" and module.room == "cli"):
                allowed = True  # the version
            if not allowed:
                wrong.append(f"{module.place}:{line}: {module.room or 'mailpipe'} may not import {name}")
    assert not wrong, "\n".join(wrong)


def test_sockets_are_opened_behind_the_doors_of_net(modules):
    wrong = [
        f"{module.place}:{line} imports {name}"
        for module in modules.values()
        if not module.place.startswith(NET_DOORS)
        for name, line in module.imports()
        if name.startswith("mailpipe.net") or name.split(".")[0] in {"socketserver", "ssl", "smtplib", "asyncio"}
        or name == "socket.socket" or (name == "socket" and "socket.socket(" in module.source)
    ]
    assert not wrong, "\n".join(wrong)


def test_nothing_imports_in_a_circle(modules):
    arrows = {name: set() for name in modules}
    for module in modules.values():
        for name, _ in module.imports():
            target = _target(name, modules)
            if target is not None and target.name != module.name:
                arrows[module.name].add(target.name)
    done, path = set(), []

    def visit(name):
        if name in path:
            raise AssertionError("a circle: " + " → ".join([*path[path.index(name) :], name]))
        if name in done:
            return
        path.append(name)
        for target in sorted(arrows[name]):
            visit(target)
        path.pop()
        done.add(name)

    for name in modules:
        visit(name)


def test_outside_packages_come_in_by_their_own_doors(modules):
    wrong = []
    for module in modules.values():
        for name, line in module.imports():
            package = name.split(".")[0]
            if package == "mailpipe" or package in sys.stdlib_module_names:
                continue
            if not module.place.startswith(OUTSIDE.get(package, ()) or ("nowhere",)):
                wrong.append(f"{module.place}:{line} imports {package}")
    assert not wrong, "\n".join(wrong)


def test_the_standard_mail_package_is_not_used(modules):
    wrong = [
        f"{module.place}:{line} imports {name}"
        for module in modules.values()
        for name, line in module.imports()
        if name.split(".")[0] in {"email", "mailbox", "mailcap", "uu", "quopri"}
    ]
    assert not wrong, "\n".join(wrong)


def test_an_import_inside_a_function_gives_its_reason(modules):
    wrong = []
    for module in modules.values():
        lines = module.source.splitlines()
        for function in ast.walk(module.tree):
            if not isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
                continue
            imports = [node for node in ast.walk(function) if isinstance(node, ast.Import | ast.ImportFrom)]
            for node in imports:
                first = node.lineno
                while any(other.end_lineno == first - 1 for other in imports):
                    first -= 1  # one reason serves the lines that follow it
                spoken = [lines[first - 2].strip().startswith("#")]
                spoken += ["#" in line for line in lines[first - 1 : node.end_lineno]]
                if not any(spoken):
                    wrong.append(f"{module.place}:{node.lineno}")
    assert not wrong, "no reason given: " + ", ".join(wrong)


def test_only_the_command_line_and_the_settings_read_the_environment(modules):
    wrong = []
    for module in modules.values():
        # native: whether the compiled part is to be used must be known before anything is read
        if module.room in ("cli", "native") or module.place == "mailpipe/pipeline/settings.py":
            continue
        wrong += [
            f"{module.place}:{node.lineno}"
            for node in ast.walk(module.tree)
            if isinstance(node, ast.Attribute) and node.attr in {"environ", "environb", "getenv", "expandvars"}
        ]
    assert not wrong, ", ".join(wrong)


def test_format_and_smtp_know_no_clock_and_no_chance(modules):
    wrong = []
    for module in modules.values():
        if module.room not in NO_CLOCK_NO_CHANCE:
            continue
        for name, line in module.imports():
            if name.split(".")[0] in {"random", "secrets", "uuid", "time"}:
                wrong.append(f"{module.place}:{line} imports {name}")
        wrong += [
            f"{module.place}:{node.lineno} asks for {node.attr}"
            for node in ast.walk(module.tree)
            if isinstance(node, ast.Attribute) and node.attr in {"now", "utcnow", "today", "urandom"}
        ]
    assert not wrong, "\n".join(wrong)


def test_importing_the_package_is_cheap(top):
    heavy = "pydantic typer rich chardet asyncio email idna"
    code = f"import sys, mailpipe; print(*[name for name in {heavy.split()} if name in sys.modules])"
    result = subprocess.run([sys.executable, "-c", code], cwd=top, capture_output=True, text=True, check=True)
    assert result.stdout.split() == []


def test_a_pipeline_without_rules_does_not_wait_for_what_it_does_not_use(top):
    heavy = "mailpipe.pipeline.rules mailpipe.pipeline.isolation mailpipe.auth.signatures asyncio multiprocessing sqlite3"
    code = f"import sys, mailpipe.pipeline.assemble; print(*[name for name in {heavy.split()} if name in sys.modules])"
    result = subprocess.run([sys.executable, "-c", code], cwd=top, capture_output=True, text=True, check=True)
    assert result.stdout.split() == []


def test_the_message_model_needs_no_package_from_outside(top):
    code = (
        "import sys, mailpipe, mailpipe.fields, mailpipe.writer, mailpipe.codec.charset\n"
        "message = mailpipe.parse(b'Subject: =?utf-8?Q?Hafen?=\\r\\nTo: a@example.org\\r\\n\\r\\nHi\\r\\n')\n"
        "assert message.subject == 'Hafen', message.subject\n"
        "assert message.text.strip() == 'Hi'\n"
        "print(*[name for name in ('pydantic', 'typer', 'rich', 'chardet') if name in sys.modules])\n"
    )
    result = subprocess.run([sys.executable, "-c", code], cwd=top, capture_output=True, text=True, check=True)
    assert result.stdout.split() == []
