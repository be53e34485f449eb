"""What a deployed pipeline answers, and what that took."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from agenttts.llm.samples import Spend
from agenttts.pipeline import Pipeline
from agenttts.space.allocation import Allocation


@dataclass(frozen=True, kw_only=True)
class StageUse:
    """What one subtask used for an answer.

    Examples:
        >>> answer = at.deployed("allocation.yaml", environment)("Is 7 odd?")
        >>> answer.stages["answer"].model, answer.stages["answer"].samples
        ('small', 5)
    """

    model: str
    """Name of the model that was asked."""
    samples: int
    """Samples drawn."""
    unparsable: int
    """Samples that the parser could not use."""
    prompt_tokens: int
    """Of all its requests, a prompt once per request."""
    completion_tokens: int
    """Of all its samples."""


OnStage = Callable[[str, Any, StageUse], None]
"""Told of each subtask that is done: its name, its output and what it used."""


@dataclass(frozen=True, kw_only=True)
class PipelineAnswer:
    """What a deployed pipeline answers, and what that took.

    Examples:
        >>> answer = at.deployed("allocation.yaml", environment)("Is 7 odd?")
        >>> answer.text, answer.degraded
        ('yes', ())
    """

    output: Any
    """The pipeline's output; where it was cut short, that of the last subtask that was done."""
    outputs: Mapping[str, Any]
    """Outputs of the subtasks that were done."""
    allocation: Allocation
    """What was used; not what was deployed where a model had to be replaced."""
    stages: Mapping[str, StageUse]
    """Subtask -> what it took."""
    spend: Spend
    """Of all stages."""
    degraded: tuple[str, ...] = ()
    """Every way in which this is less than was deployed, in words; empty when all went well."""
    recorded: str = ""
    """What the samples are where no real model gave them."""

    @property
    def text(self) -> str:
        """The output as text: JSON where it is none."""
        return self.output if isinstance(self.output, str) else json.dumps(self.output, default=str)


class Answering(Protocol):
    """What answers one input at a time: a deployed pipeline."""

    @property
    def pipeline(self) -> Pipeline: ...

    async def answer(self, given: Mapping[str, Any] | str, *, on_stage: OnStage | None = None) -> PipelineAnswer:
        """See `DeployedPipeline.answer`."""
        ...
