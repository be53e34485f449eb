"""Finding an environment: by registered name, `module:attribute` or `path.py:attribute`.

Third parties register a name with the entry-point group `agenttts.environments`; the entry is an environment, or a
function that returns one: without arguments, or with the keyword `data` (where its examples are: a path or a Hub id).
A file's folder is importable from then on, as it is when Python runs the file, and so is the working folder; neither
hides the standard library. A file in a package (a folder with `__init__.py`) is a module of it, as `python -m` has it.
"""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import sys
from collections.abc import Callable, Mapping
from importlib.metadata import entry_points
from pathlib import Path
from types import ModuleType
from typing import Any

from agenttts._util.checks import instance, require
from agenttts._util.files import working_folder
from agenttts._util.plugins import INSTALLED, blamed, lacks
from agenttts.environments.live import LiveEnvironment
from agenttts.errors import ConfigError
from agenttts.pipeline import Pipeline
from agenttts.protocols import Environment
from agenttts.serving import Serving

GROUP = "agenttts.environments"
_OURS = "agenttts"
_TASKS = "agenttts.environments.tasks"
_MINIHOP = f"{_TASKS}.minihop"
_BUILT_IN = {
    "minihop": f"{_MINIHOP}:minihop",
    "minihop-recorded": f"{_MINIHOP}:minihop_recorded",
    "minihop-vote": f"{_MINIHOP}:minihop_vote",
    "minihop-operators": f"{_MINIHOP}:minihop_operators",
    "minihop-operators-recorded": f"{_MINIHOP}:minihop_operators_recorded",
    "hotpotqa": f"{_TASKS}.hotpotqa:hotpotqa",
    "2wikimultihopqa": f"{_TASKS}.twowikimultihopqa:twowikimultihopqa",
    "cwq": f"{_TASKS}.cwq:cwq",
    "webqsp": f"{_TASKS}.webqsp:webqsp",
    "taskbench": f"{_TASKS}.taskbench:taskbench",
    "chatdev": f"{_TASKS}.chatdev:chatdev",
}


def environment_names() -> dict[str, str]:
    """Registered name -> where it is defined, built-in ones first.

    Examples:
        >>> from agenttts.environments import environment_names
        >>> environment_names()["taskbench"]
        'agenttts.environments.tasks.taskbench:taskbench'
    """
    return {**_BUILT_IN, **{entry.name: entry.value for entry in entry_points(group=GROUP)}}


def environment(
    name: str,
    *,
    data: str | None = None,
    endpoints: Mapping[str, str] | None = None,
    serving: Callable[[Pipeline], Serving] | None = None,
) -> Environment:
    """The environment of this name.

    Examples:
        >>> recorded = at.environment("minihop-recorded")
        >>> recorded.recorded
        'recorded samples of real models; no model runs'

    Args:
        name: A registered name, `module:attribute` or `path.py:attribute`.
        data: Where its examples are, for an environment whose function takes `data`.
        endpoints: Model name -> base URL of the OpenAI-compatible server that serves it.
        serving: Makes the servers of the other models of a pipeline.

    Raises:
        ConfigError: When it cannot be found, is not an environment, or does not take what it is given.
    """
    target = environment_names().get(name, name)
    module, separator, attribute = target.rpartition(":")
    if not separator and target != name:
        raise ConfigError(f"environment {name!r} is registered as {target!r} instead of 'module:attribute'")
    if not separator and not target.endswith(".py"):
        raise ConfigError(
            f"there is no environment {name!r}; registered are {', '.join(environment_names())}, "
            "and module:attribute or path.py:attribute name one of your own"
        )
    loaded = _load(module if separator else target, name)
    if not separator or not hasattr(loaded, attribute):
        said = _choices_in(loaded, module if separator else target, attribute if separator else "")
        raise ConfigError(said if target == name else f"environment {name!r} is registered as {target!r}, but {said}")
    found = getattr(loaded, attribute)
    if callable(found) and not isinstance(found, Environment):
        found = _call(found, name, data)
    elif data is not None:
        raise _takes_no_data(name)
    if not isinstance(found, Environment):
        raise ConfigError(
            f"{name!r} is not an environment, nor a function that returns one: it is {found!r:.100}, which "
            f"{lacks(found, Environment)}"
        )
    require(instance(Pipeline, "a Pipeline"), getattr(found, "pipeline", None), f"environment {name!r}: pipeline")
    if serving is not None:
        _require_live(found, "--serve").serve(serving(found.pipeline), endpoints=endpoints)
    elif endpoints:
        _require_live(found, "--endpoint").route(endpoints)
    return found


def _call(factory: Any, name: str, data: str | None) -> Any:
    given = {} if data is None else {"data": data}
    try:
        signature = inspect.signature(factory)
        if data is not None and "data" not in signature.parameters:
            raise _takes_no_data(name)
        signature.bind(**given)
    except (TypeError, ValueError) as error:
        called = getattr(factory, "__name__", repr(factory))
        raise ConfigError(
            f"environment {name!r}: {called} cannot be called without arguments, or with data alone"
        ) from error
    with blamed(f"environment {name!r}"):
        return factory(**given)


def _takes_no_data(name: str) -> ConfigError:
    return ConfigError(f"environment {name!r} takes no data: its examples are its own, so leave --data out")


def _require_live(found: Environment, option: str) -> LiveEnvironment:
    if not isinstance(found, LiveEnvironment):
        raise ConfigError(f"environment {found.name!r} asks no models: leave {option} out")
    return found


def _choices_in(loaded: ModuleType, module: str, attribute: str) -> str:
    """What to name instead of an attribute that is missing, or was left out."""
    names = [f"{module}:{name}" for name, value in vars(loaded).items() if _is_choice(value, loaded)]
    said = f"{module!r} has no {attribute!r}" if attribute else f"{module!r} names a file, not an environment in it"
    if not names:
        return f"{said}, and holds no environment: assign one, as in `environment = at.LiveEnvironment(...)`"
    return f"{said}: give {' or '.join(names)}"


def _is_choice(value: Any, loaded: ModuleType) -> bool:
    """Whether a module's value is an environment, or a function of its own that says that it returns one."""
    if not inspect.isfunction(value):
        return isinstance(value, Environment)
    return value.__module__ == loaded.__name__ and "Environment" in str(value.__annotations__.get("return", ""))


def _load(module: str, name: str) -> ModuleType:
    if module.endswith(".py"):
        return _load_file(Path(module).expanduser(), name)
    if not all(part.isidentifier() for part in module.split(".")):
        raise ConfigError(f"environment {name!r}: {module!r} is neither a module's name nor the path of a .py file")
    _make_importable(working_folder())
    with blamed(f"environment {name!r}"):
        return importlib.import_module(module)


def _load_file(path: Path, name: str) -> ModuleType:
    """Run a file as a module of its own: its neighbours can be imported, and its name hides no other module's."""
    if not path.is_file():
        raise ConfigError(f"environment {name!r}: there is no file {str(path)!r}")
    package, root = _package(path.resolve().parent)
    for folder in (path.resolve().parent, root, working_folder()):
        _make_importable(folder)
    module_name = f"{package}.{path.stem}" if package else _module_name(path.resolve())
    if package:
        with blamed(f"environment {name!r}"):
            importlib.import_module(package)
    spec = importlib.util.spec_from_file_location(module_name, path.resolve())
    if spec is None or spec.loader is None:
        raise ConfigError(f"environment {name!r}: {str(path)!r} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[module_name] = module
    with blamed(f"environment {name!r}"):
        spec.loader.exec_module(module)
    return module


def _package(folder: Path) -> tuple[str, Path]:
    """The package that a folder is ("" for none), and the folder that it is imported from."""
    names, root = list[str](), folder
    while (root / "__init__.py").is_file():
        names.insert(0, root.name)
        root = root.parent
    usable = names and names[0] not in sys.stdlib_module_names and all(name.isidentifier() for name in names)
    return (".".join(names), root) if usable else ("", folder)


def _make_importable(folder: Path | None) -> None:
    """Let modules of a folder be imported from now on, behind the standard library and before what is installed."""
    if folder is None or str(folder) in sys.path:
        return
    installed = [place for place, entry in enumerate(sys.path) if Path(entry).name in INSTALLED]
    sys.path.insert(installed[0] if installed else len(sys.path), str(folder))


def _module_name(path: Path) -> str:
    """The file's stem, so that its neighbours can import it; a name apart where a module that is no file of the
    user's has that name.
    """
    stem = path.stem
    loaded = getattr(sys.modules.get(stem), "__file__", None) or ""
    installed = stem == _OURS or any(part in INSTALLED for part in Path(loaded).parts)
    return f"agenttts_file_{stem}" if stem in sys.stdlib_module_names or installed else stem
