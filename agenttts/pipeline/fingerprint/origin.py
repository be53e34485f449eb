"""Whose a function, class or module is: the user's, ours, or a library's."""

from __future__ import annotations

import inspect
import os
import sys
from collections.abc import Mapping
from enum import Enum
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any

from agenttts.pipeline.fingerprint.code import class_source

_STANDARD_LIBRARY = Path(os.__file__).parent
_INSTALLED = {"site-packages", "dist-packages"}
_OF_PYTHON = {"__dict__", "__slots__", "__annotations__", "__annotate_func__", "__orig_bases__"}


class Origin(Enum):
    """Who wrote some code."""

    USER = "user"
    OURS = "ours"
    LIBRARY = "library"


def origin(value: Any) -> Origin:
    """Whose a function, class or module is.

    A function belongs to where its code stands, not to what it wraps; a class that was made at run time
    (`create_model`, a signature of DSPy) to the user, whatever module made it.
    """
    if isinstance(value, ModuleType):
        return _of_module(value.__name__)
    if isinstance(value, FunctionType):
        module = value.__globals__.get("__name__")
        return _of_module(module) if isinstance(module, str) and module in sys.modules else _of_file(value)
    module = getattr(value, "__module__", None)
    found = _of_module(module) if isinstance(module, str) else Origin.LIBRARY
    made = found is Origin.LIBRARY and inspect.isclass(value) and _is_made(value)
    return Origin.USER if made else found


def qualified(value: Any) -> str:
    """The name of a library's function or class."""
    return f"{getattr(value, '__module__', None) or ''}.{getattr(value, '__qualname__', type(value).__qualname__)}"


def is_named(value: Any) -> bool:
    """Whether a library's object is what its module has under its name: the name then says which it is."""
    module, name = getattr(value, "__module__", None), getattr(value, "__qualname__", getattr(value, "__name__", None))
    if not (isinstance(module, str) and isinstance(name, str)) or _of_module(module) is Origin.USER:
        return False
    found: Any = sys.modules.get(module)
    for part in name.split("."):
        found = inspect.getattr_static(found, part, None)
    return found is value


def is_users_module(name: str) -> bool:
    """Whether a module that may not be imported yet is the user's; no library is imported to find out.

    Raises:
        ImportError: When there is no such module.
    """
    root = name.partition(".")[0]
    if root in sys.modules or root in sys.stdlib_module_names:
        return _of_module(root) is Origin.USER
    spec = find_spec(root)
    if spec is None:
        raise ImportError(name)
    places = [spec.origin] if spec.has_location else list(spec.submodule_search_locations or ())
    return any(place is not None and _of_path(place) is Origin.USER for place in places)


def folder_of(scope: Mapping[str, Any]) -> str | None:
    """The folder that a user's module, or its whole package, lies in; None for what was typed in.

    Args:
        scope: The module's globals.
    """
    file, package = scope.get("__file__"), scope.get("__package__")
    if not isinstance(file, str) or _of_path(file) is not Origin.USER:
        return None
    depth = package.count(".") + 1 if isinstance(package, str) and package else 0
    folder = str(Path(os.path.abspath(file)).parents[depth])
    return folder if folder != os.path.sep else None


def _is_made(kind: type) -> bool:
    """Whether a call made a class: it is neither written in C nor in a class statement of its module."""
    own = vars(kind)
    of_python = bool(_OF_PYTHON & own.keys()) or any(isinstance(each, FunctionType) for each in own.values())
    if is_named(kind) or type(kind) is type and not of_python:
        return False
    file = getattr(sys.modules.get(kind.__module__), "__file__", None)
    return "<locals>" in kind.__qualname__ or class_source(kind, file) is None


def _of_module(name: str) -> Origin:
    root = name.partition(".")[0]
    if root == "agenttts":
        return Origin.OURS
    file = getattr(sys.modules.get(name), "__file__", None)
    if file is None:  # typed in, unless it is built into Python
        return Origin.LIBRARY if root in sys.stdlib_module_names and root != "__main__" else Origin.USER
    return _of_path(file)


def _of_file(function: FunctionType) -> Origin:
    return _of_path(function.__code__.co_filename)


@lru_cache(maxsize=4096)
def _of_path(file: str) -> Origin:
    path = Path(file)
    installed = path.is_relative_to(_STANDARD_LIBRARY) or _INSTALLED & set(path.parts)
    return Origin.LIBRARY if installed else Origin.USER
