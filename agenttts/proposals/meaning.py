"""What the stages of a pipeline do and how it is scored, in a few words: what an LLM can know more of than statistics.

It is told the beginning of each prompt, or what a prompt function says of itself, and what scores it.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from agenttts._util.text import one_line
from agenttts.pipeline import Pipeline, Subtask
from agenttts.pipeline.fingerprint.declared import identity_of

_SHOWN = 160


def meaning(pipeline: Pipeline) -> str:
    """What is known of the stages and the metric."""
    stages = [f"- {subtask.name}: {said}" for subtask in pipeline.subtasks if (said := _said(subtask))]
    heading = ["How the prompts of the stages begin:"] if stages else []
    return "\n".join([*heading, *stages, f"The last stage's output is scored by: {_scored(pipeline.metric)}"])


def _said(subtask: Subtask) -> str:
    """Its prompt, and how its own output is scored, where it is."""
    scored = f"its own score: {_scored(subtask.metric)}" if subtask.metric is not None else ""
    return "; ".join(filter(None, (_asked(subtask), scored)))


def _asked(subtask: Subtask) -> str:
    prompt = subtask.prompt
    if prompt is None:
        return ""
    return _short(prompt) if isinstance(prompt, str) else _said_of(prompt)


def _scored(metric: Callable[..., Any]) -> str:
    """One of ours by its name and arguments, another by what it says of itself."""
    identity = identity_of(metric)
    if identity is None:
        return _said_of(metric)
    arguments = ", ".join(f"{name}={value!r}" for name, value in identity.arguments or () if value is not None)
    return _short(f"{identity.name}({arguments})")


def _said_of(function: Callable[..., Any]) -> str:
    name = getattr(function, "__name__", type(function).__name__)
    said = (inspect.getdoc(function) or "").partition("\n")[0]
    return _short(f"{name}: {said}" if said else f"a function {name!r}")


def _short(text: str) -> str:
    line = one_line(text)
    return line if len(line) <= _SHOWN else f"{line[:_SHOWN]} ..."
