"""Where components come from: installed distributions and the `plugins/` folder beside a pipeline file.

    registry = load_registry(pipeline_file.parent)

A plugin is a module with `register(registry)`. An installed one is announced by an entry point of the group
`mailpipe.plugins` and is asked only when a name is needed that the built-in ones do not have, so that a broken
distribution stops nobody who does not use it. Every `*.py` of the folder is loaded at once; names that begin with
"_", "." or "test_", and conftest.py, are not plugins.

Never here: what makes a component good; see `mailpipe.pipeline.registry`.
"""

import os
import sys
from collections.abc import Callable
from functools import partial
from hashlib import blake2b
from importlib import import_module
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import CodeType, ModuleType
from typing import TYPE_CHECKING

from mailpipe import __version__
from mailpipe.errors import PluginError
from mailpipe.pipeline.registry import Registry

if TYPE_CHECKING:  # slow to import, and most pipelines need no installed plugin
    from importlib.metadata import EntryPoint

GROUP = "mailpipe.plugins"
FOLDER = "plugins"
_BUNDLED = "mailpipe.bundled"


def load_registry(folder: Path | None = None) -> Registry:
    """A registry with the built-in components, the installed plugins, and those in `folder`/plugins.

    Args:
        folder: the folder of the pipeline file; None for no such plugins.

    Raises:
        PluginError: a plugin of the folder cannot be used; it names the file and the line of the fault.
    """
    folder = folder.resolve() if folder is not None else None
    registry = Registry(partial(load_registry, folder))
    # the same as by its entry point, but the metadata of every distribution need not be read for it
    _register(registry, f"mailpipe {__version__}", "bundled", partial(import_module, _BUNDLED))
    registry.add_later(_announce_installed)
    for path in plugin_files(folder) if folder is not None else ():
        _register(registry, str(path), path.stem, partial(_import_file, path), path)
    return registry


def plugin_files(folder: Path) -> list[Path]:
    """The plugin files beside a pipeline file, sorted.

    Raises:
        PluginError: the folder of plugins is there and cannot be read.
    """
    place = folder / FOLDER
    try:
        with os.scandir(place) as entries:
            names = sorted(entry.name for entry in entries if entry.name.endswith(".py") and entry.is_file())
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise PluginError(FOLDER, str(place), f"the folder cannot be read: {error.strerror}") from error
    return [place / name for name in names if not name.startswith(("_", ".", "test_")) and name != "conftest.py"]


def _announce_installed(registry: Registry) -> None:
    from importlib import metadata  # slow to import, see above

    for point in sorted(metadata.entry_points(group=GROUP), key=lambda point: point.name):
        if point.value != _BUNDLED:
            origin = f"{point.dist.name} {point.dist.version}" if point.dist else point.value
            registry.add_later(partial(_register_point, origin=origin, point=point))


def _register_point(registry: Registry, origin: str, point: "EntryPoint") -> None:
    _register(registry, origin, point.name, partial(_load_point, point))


def _load_point(point: "EntryPoint") -> ModuleType:
    loaded = point.load()
    if isinstance(loaded, ModuleType):
        return loaded
    raise TypeError(f"the entry point {point.value!r} must name a module")


def _import_file(path: Path) -> ModuleType:
    # two folders may hold a plugin of the same name, and pickle and pydantic look a module up by its name
    name = f"mailpipe_plugin_{path.stem}_{blake2b(str(path).encode(), digest_size=4).hexdigest()}"
    before = sys.modules.get(name)
    # read once more while it is in use, it may have changed within the second that compiled files are known by
    loader = _Uncached(name, str(path)) if before is not None else None
    spec = spec_from_file_location(name, path, loader=loader)
    if spec is None or spec.loader is None:
        raise ImportError("it is no Python source file")
    module = module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        if before is not None:  # those that work with it go on
            sys.modules[name] = before
        raise
    return module


class _Uncached(SourceFileLoader):
    """Compiles the source that there is, whatever compiled files say."""

    def get_code(self, fullname: str) -> CodeType:
        """The code of the source."""
        path = self.get_filename(fullname)
        code: CodeType = self.source_to_code(self.get_data(path), path)
        return code


def _register(
    registry: Registry, origin: str, name: str, load: Callable[[], ModuleType], path: Path | None = None
) -> None:
    try:
        module = load()
        register = getattr(module, "register", None)
        if not callable(register):
            raise PluginError(name, origin, "it has no function register(registry)")
        with registry.coming_from(origin):
            register(registry)
    except PluginError:
        raise
    except (Exception, SystemExit) as error:
        raise PluginError(name, _place(error, path, origin), f"{type(error).__name__}: {error}") from error


def _place(error: BaseException, path: Path | None, origin: str) -> str:
    """The file and line of the fault: in the plugin's own file where it passed there, else where it was raised."""
    import traceback  # slow to import, only for a fault

    if isinstance(error, SyntaxError) and error.filename:
        return f"{error.filename}:{error.lineno or 1}"
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if path is not None and frame.filename == str(path)]
    if own:
        return f"{own[-1].filename}:{own[-1].lineno}"
    foreign = [frame for frame in frames if frame.filename != __file__ and "importlib" not in frame.filename]
    return f"{origin} ({foreign[-1].filename}:{foreign[-1].lineno})" if foreign else origin
