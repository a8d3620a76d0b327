"""What the tests of the house share: every module of the package, parsed once."""

import ast
from dataclasses import dataclass
from pathlib import Path

import pytest

TOP = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Module:
    """One file of the package.

    Attributes:
        name: "mailpipe.fields.address"; a package goes by its own name.
        path: the file.
        source: its text.
        tree: the syntax tree.
    """

    name: str
    path: Path
    source: str
    tree: ast.Module

    @property
    def room(self) -> str:
        """The first name below mailpipe; "" for the package itself."""
        return [*self.name.split("."), ""][1]

    @property
    def place(self) -> str:
        """The path from the top folder."""
        return self.path.relative_to(TOP).as_posix()

    def imports(self):
        """Every import anywhere in the file: (name of the module or of something in it, line)."""
        package = self.name if self.path.name == "__init__.py" else self.name.rpartition(".")[0]
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Import):
                for alias in node.names:
                    yield alias.name, node.lineno
            elif isinstance(node, ast.ImportFrom):
                base = node.module or ""
                if node.level:
                    parents = package.split(".")
                    base = ".".join(parents[: len(parents) - node.level + 1] + ([node.module] if node.module else []))
                for alias in node.names:
                    yield f"{base}.{alias.name}", node.lineno


def _load(path: Path) -> Module:
    parts = list(path.relative_to(TOP).with_suffix("").parts)
    if parts[-1] == "__init__":
        parts.pop()
    source = path.read_text(encoding="utf-8")
    return Module(".".join(parts), path, source, ast.parse(source))


@pytest.fixture(scope="session")
def modules() -> dict[str, Module]:
    """Every module of mailpipe by its name."""
    return {module.name: module for module in map(_load, sorted((TOP / "mailpipe").rglob("*.py")))}


@pytest.fixture(scope="session")
def top() -> Path:
    """The folder of pyproject.toml."""
    return TOP
