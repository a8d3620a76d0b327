"""The plugins that users copy import what is public, and nothing else."""

import ast

PUBLIC = ("mailpipe.errors", "mailpipe.fields", "mailpipe.message", "mailpipe.smtp", "mailpipe.testing")


def test_plugins_import_public_modules_only(top):
    wrong, seen = [], 0
    for path in sorted((top / "plugins").rglob("*.py")):
        if path.name.startswith("test_"):
            continue
        seen += 1
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            wrong += [
                f"{path.relative_to(top)}:{node.lineno} {name}"
                for name in names
                if name.startswith("mailpipe.") and not name.startswith(PUBLIC)
            ]
    assert seen
    assert not wrong, "\n".join(wrong)


def test_every_plugin_folder_has_what_a_plugin_needs(top):
    folders = [path for path in (top / "plugins").iterdir() if path.is_dir() and path.name != "__pycache__"]
    for folder in folders:
        module = folder.name.replace("-", "_")
        for name in ("README.md", "pyproject.toml", f"{module}.py", f"test_{module}.py"):
            assert (folder / name).exists(), folder / name
        assert 'project.entry-points."mailpipe.plugins"' in (folder / "pyproject.toml").read_text()
