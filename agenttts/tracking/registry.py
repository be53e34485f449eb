"""Finding a tracker by the name that the command line knows."""

from __future__ import annotations

from collections.abc import Callable

from agenttts.errors import ConfigError
from agenttts.tracking.base import Tracker
from agenttts.tracking.mlflow import MlflowTracker
from agenttts.tracking.wandb import WandbTracker

_TRACKERS: dict[str, Callable[[], Tracker]] = {"mlflow": MlflowTracker, "wandb": WandbTracker}


def tracker_names() -> tuple[str, ...]:
    """The trackers that the command line knows.

    Examples:
        >>> from agenttts.tracking import tracker_names
        >>> tracker_names()
        ('mlflow', 'wandb')
    """
    return tuple(_TRACKERS)


def tracker(name: str) -> Tracker:
    """The tracker of this name, set up by its own environment variables.

    Examples:
        >>> from agenttts.tracking import tracker
        >>> tracker("tensorboard")
        Traceback (most recent call last):
        agenttts.errors.ConfigError: there is no tracker 'tensorboard'; there is mlflow and wandb

    Raises:
        ConfigError: When there is none, or its client is not installed.
    """
    if name not in tracker_names():
        raise ConfigError(f"there is no tracker {name!r}; there is {' and '.join(tracker_names())}")
    return _TRACKERS[name]()
