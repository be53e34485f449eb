"""The steps of the pipeline that is being run: how a framework's own objects find the handles of `execution.run`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING

from agenttts.errors import ConfigError

if TYPE_CHECKING:
    from agenttts.execution.run import Step

_STEPS: ContextVar[Mapping[str, Step]] = ContextVar("agenttts_steps")
_UNDER_WAY: set[int] = set()
"""The runs of pipelines that are programs, in all threads."""


@contextmanager
def running(steps: Mapping[str, Step]) -> Iterator[None]:
    """Let these handles be found within, by what frameworks call."""
    token = _STEPS.set(steps)
    _UNDER_WAY.add(id(steps))
    try:
        yield
    finally:
        _UNDER_WAY.discard(id(steps))
        _STEPS.reset(token)


def current_step(name: str) -> Step:
    """The handle of a subtask of the pipeline that is being run here.

    Raises:
        ConfigError: Outside of a run, or when the pipeline has no such subtask.
    """
    steps = _STEPS.get(None)
    if steps is None and _UNDER_WAY:
        raise ConfigError(
            f"step {name!r} was asked from a thread that does not know its example: start it by asyncio.to_thread, or "
            "run in it what contextvars.copy_context().run(function) runs"
        )
    if steps is None:
        raise ConfigError(f"the model of step {name!r} can be asked only while its pipeline (Pipeline.run) is run")
    if name not in steps:
        raise ConfigError(f"there is no step {name!r}; the pipeline's subtasks are {', '.join(steps)}")
    return steps[name]


def runs_anywhere() -> bool:
    """Whether a pipeline that is a program is being run, here or in another thread."""
    return bool(_UNDER_WAY)


def runs_here() -> bool:
    """Whether a pipeline that is a program is being run here."""
    return _STEPS.get(None) is not None
