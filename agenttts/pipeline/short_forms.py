"""What `Subtask.aggregator` and `Subtask.run` are short for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from agenttts.pipeline.operator import Amount, Lengths, Load, Operator, SubtaskRun

if TYPE_CHECKING:
    from agenttts.pipeline.handles import Aggregator, Coroutine


@dataclass(frozen=True)
class Aggregated(Operator):
    """All samples drawn and parsed, then one function of those that can be used."""

    aggregator: Aggregator

    @property
    def name(self) -> str:
        return self.aggregator.name

    @property
    def writes_anew(self) -> bool:  # type: ignore[override]  # it depends on the aggregator
        return getattr(self.aggregator, "writes_anew", False)

    async def run(self, stage: SubtaskRun) -> Any:
        return await self.aggregator.aggregate([each.value for each in await stage.usable()], stage)

    def loads(self, samples: Amount, lengths: Lengths) -> Sequence[Load]:
        return [Load(1, lengths.prompt, samples, lengths.completion), *_extra(self.aggregator, samples, lengths)]


@dataclass(frozen=True)
class Programmed(Operator):
    """A coroutine that is the whole stage; an aggregator prices what it asks beyond one prompt's samples."""

    coroutine: Coroutine
    aggregator: Aggregator | None = None

    @property
    def name(self) -> str:
        return "run"

    async def run(self, stage: SubtaskRun) -> Any:
        return await self.coroutine(stage)

    def loads(self, samples: Amount, lengths: Lengths) -> Sequence[Load]:
        extra = _extra(self.aggregator, samples, lengths) if self.aggregator else ()
        return [Load(1, lengths.prompt, samples, lengths.completion), *extra]


def _extra(aggregator: Aggregator, samples: Amount, lengths: Lengths) -> Sequence[Load]:
    prompt, completion = aggregator.extra_tokens(samples, lengths.prompt, lengths.completion)
    return [Load(1, prompt, 1, completion)]
