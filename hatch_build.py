"""Compiles `mailpipe/native/*.pyx` while a wheel is built; without a compiler the wheel is one of pure Python.

MAILPIPE_PURE in the environment leaves the compiled part out, too.
"""

import contextlib
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

ROOM = "mailpipe/native"


def compiled(root: str, folder: str, into: str | None) -> list[Path]:
    """Compile every source of the room.

    Args:
        root: of the project.
        folder: for what comes up in between.
        into: where the results go, None for beside their sources.

    Returns:
        the results.
    """
    from Cython.Build import cythonize
    from setuptools import Distribution, Extension
    from setuptools.command.build_ext import build_ext

    with contextlib.chdir(root):
        sources = sorted(Path(ROOM).glob("*.pyx"))
        modules = [Extension(".".join(source.with_suffix("").parts), [str(source)]) for source in sources]
        made = cythonize(modules, build_dir=folder, include_path=["."], quiet=True)
        command = build_ext(Distribution({"name": "mailpipe", "ext_modules": made}))
        command.build_temp, command.inplace = folder, into is None
        if into is not None:
            command.build_lib = into
        command.ensure_finalized()
        command.run()
        return [Path(name).resolve() for name in command.get_outputs()]


class CustomBuildHook(BuildHookInterface[Any]):
    """What hatchling calls."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Compile, and put the results into the wheel; beside their sources for an editable one."""
        if self.target_name != "wheel" or os.environ.get("MAILPIPE_PURE") or sys.implementation.name != "cpython":
            return
        self._folder = tempfile.TemporaryDirectory(prefix="mailpipe-build-")
        folder = self._folder.name
        try:
            results = compiled(self.root, folder, None if version == "editable" else str(Path(folder, "lib")))
        except (Exception, SystemExit) as trouble:  # noqa: BLE001 - neither compiler nor headers are needed
            self.app.display_warning(f"mailpipe is built without its compiled part: {trouble}")
            return
        if version != "editable":
            build_data["pure_python"], build_data["infer_tag"] = False, True
            build_data["force_include"] |= {str(result): f"{ROOM}/{result.name}" for result in results}

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        """Take away what came up in between."""
        if hasattr(self, "_folder"):
            self._folder.cleanup()
