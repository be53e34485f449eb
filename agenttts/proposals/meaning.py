"""What the stages of a pipeline do and how it is scored, in a few words: what an LLM can know more of than statistics.

It is told the beginning of each prompt, or what a prompt function says of itself, and what scores it; never a key.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from typing import Any

from agenttts._util.text import one_line, scrubbed
from agenttts.llm.endpoint import secrets_of
from agenttts.pipeline import Pipeline, Subtask
from agenttts.pipeline.fingerprint.declared import identity_of

MOST_TOLD = 160
"""Characters of what each prompt and metric says."""


def meaning(pipeline: Pipeline, most: int = MOST_TOLD) -> str:
    """What is known of the stages and the metric.

    Args:
        pipeline: What is searched.
        most: Characters of what each prompt and metric says.
    """
    secrets = secrets_of(pipeline.models)

    def cut(text: str) -> str:
        line = scrubbed(one_line(text), secrets)
        return line if len(line) <= most else f"{line[:most]} ..."

    said = {each.name: "; ".join(map(cut, _said(each))) for each in pipeline.subtasks}
    stages = [f"- {name}: {words}" for name, words in said.items() if words]
    heading = ["How the prompts of the stages begin:"] if stages else []
    scored = f"The last stage's output is scored by: {cut(_scored(pipeline.metric))}"
    return "\n".join([*heading, *stages, scored])


def _said(subtask: Subtask) -> Iterator[str]:
    """Its prompt, and how its own output is scored, where it is."""
    if (prompt := subtask.prompt) is not None:
        yield prompt if isinstance(prompt, str) else _said_of(prompt)
    if subtask.metric is not None:
        yield f"its own score: {_scored(subtask.metric)}"


def _scored(metric: Callable[..., Any]) -> str:
    """One of ours by its name and arguments, another by what it says of itself."""
    identity = identity_of(metric)
    if identity is None:
        return _said_of(metric)
    arguments = ", ".join(f"{name}={value!r}" for name, value in identity.arguments or () if value is not None)
    return f"{identity.name}({arguments})"


def _said_of(function: Callable[..., Any]) -> str:
    name = getattr(function, "__name__", type(function).__name__)
    said = (inspect.getdoc(function) or "").partition("\n")[0]
    return f"{name}: {said}" if said else f"a function {name!r}"
