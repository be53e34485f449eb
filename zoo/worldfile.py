"""minihop's world module, loaded from its file: a training machine needs none of the package's dependencies."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import TYPE_CHECKING

PACKAGE = Path(__file__).resolve().parents[1] / "agenttts/environments/tasks/minihop"
"""Folder of the environment that the zoo is made for."""

if TYPE_CHECKING:
    from agenttts.environments.tasks.minihop import world
else:
    _spec = importlib.util.spec_from_file_location("zoo._minihop_world", PACKAGE / "world.py")
    world = importlib.util.module_from_spec(_spec)
    sys.modules[_spec.name] = world  # NamedTuple looks its own module up
    _spec.loader.exec_module(world)

__all__ = ["PACKAGE", "world"]
