"""Everything public says what it is."""

import ast
import re


def _public(body, inside=""):
    for node in body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) and not node.name.startswith("_"):
            yield f"{inside}{node.name}", node
            if isinstance(node, ast.ClassDef):
                yield from _public(node.body, f"{inside}{node.name}.")


def test_every_module_has_a_docstring(modules):
    assert not [module.place for module in modules.values() if not ast.get_docstring(module.tree)]


def test_every_public_class_and_function_has_a_docstring(modules):
    wrong = []
    for module in modules.values():
        for name, node in _public(module.tree.body):
            # a setter and the branches of an overload have their words at the first
            marks = {ast.unparse(mark).rpartition(".")[2] for mark in node.decorator_list}
            if not ast.get_docstring(node) and not marks & {"overload", "setter", "override"}:
                wrong.append(f"{module.place}:{node.lineno} {name}")
    assert not wrong, "\n".join(wrong)


def test_a_first_line_fits_its_line(modules):
    wrong = []
    for module in modules.values():
        for name, node in _public(module.tree.body):
            first = (ast.get_docstring(node) or "").partition("\n")[0]
            if len(first) > 116:
                wrong.append(f"{module.place}:{node.lineno} {name}")
    assert not wrong, "\n".join(wrong)


def test_nothing_prints_below_the_command_line(modules):
    wrong = [
        f"{module.place}:{node.lineno}"
        for module in modules.values()
        if module.room != "cli"
        for node in ast.walk(module.tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in {"print", "input"}
    ]
    assert not wrong, ", ".join(wrong)


# written so that this file does not find itself
_FORBIDDEN = re.compile(r"(?<![\w.\"])/(?:" + "wo" + r"rk|ro" + r"ot|home/\w+)/|\b(?:FIX" + r"ME|X" + r"XX)\b")


def test_no_text_names_a_path_of_somebody_s_machine(top):
    wrong = []
    names = ("mailpipe", "docs", "plugins", "samples", "tests", ".ci")
    files = [path for name in names for path in (top / name).rglob("*") if path.is_file()]
    files += [path for path in top.iterdir() if path.suffix in {".md", ".toml", ".lock"} or path.name == "Makefile"]
    for path in files:
        if path.suffix in {".py", ".md", ".toml", ".lock", ".cf", ".sh", ""} and "__pycache__" not in path.parts:
            for number, line in enumerate(path.read_text(encoding="utf-8", errors="replace").splitlines(), 1):
                if _FORBIDDEN.search(line):
                    wrong.append(f"{path.relative_to(top)}:{number}: {line.strip()}")
    assert not wrong, "\n".join(wrong)
