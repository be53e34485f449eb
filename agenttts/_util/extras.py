"""Packages of the extras in pyproject.toml: imported where they are used, and one sentence where they are missing.

A folder that only has a package's name, as `wandb` leaves one where it was used, is importable too, as a namespace.
It is not the package.
"""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from types import ModuleType

from agenttts._util.hints import install
from agenttts.errors import ConfigError


def installed(package: str) -> bool:
    """Whether a top-level package can be imported."""
    spec = find_spec(package)
    return spec is not None and spec.origin is not None


def imported(package: str, need: str, *, extra: str) -> ModuleType:
    """Import a top-level package.

    Args:
        package: Its name.
        need: What needs it, in a sentence: "frames need pandas".
        extra: The extra that has it.

    Raises:
        ConfigError: With that sentence and how it is installed, when the package or one that it needs is not installed.
    """
    try:
        module = import_module(package)
    except ImportError as error:
        raise ConfigError(f"{need}: {install(extra)}") from error
    if module.__file__ is None:
        raise ConfigError(f"{need}: {install(extra)}")
    return module
