"""Finding a tracker by the name that the command line knows."""

from __future__ import annotations

from collections.abc import Callable

from agenttts.errors import ConfigError
from agenttts.tracking.base import Tracker
from agenttts.tracking.mlflow import MlflowTracker
from agenttts.tracking.wandb import WandbTracker

_TRACKERS: dict[str, Callable[[], Tracker]] = {"mlflow": MlflowTracker, "wandb": WandbTracker}


def tracker_names() -> tuple[str, ...]:
    """The trackers that the command line knows."""
    return tuple(_TRACKERS)


def tracker(name: str) -> Tracker:
    """The tracker of this name, set up by its own environment variables.

    Raises:
        ConfigError: When there is none, or its client is not installed.
    """
    if name not in tracker_names():
        raise ConfigError(f"there is no tracker {name!r}; there is {' and '.join(tracker_names())}")
    return _TRACKERS[name]()
