"""Samples as the stages of a run see them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from agenttts.llm.samples import Sample
from agenttts.pipeline.operator import Drawn
from agenttts.pipeline.tools import read_calls


@dataclass
class LookedAt:
    """What a stage has looked at of one key of the pool."""

    model: str
    samples: Sequence[Sample] = ()
    answers: Sequence[Drawn] = ()
    """Those of the samples that were parsed."""


def as_drawn(sample: Sample, value: Any) -> Drawn:
    """A sample as an operator sees it, with what the parser made of it."""
    if sample.ended == "called":
        return Drawn(sample.text, value, sample.completion_tokens, calls=read_calls(sample.text)[1])
    return Drawn(sample.said, value, sample.completion_tokens, sample.ended, logprobs=sample.logprobs)


def why_unusable(drawn: Sequence[Drawn]) -> str:
    """How many samples had nothing to parse, in words."""
    counts = {
        "refused": sum(each.ended == "refused" for each in drawn),
        "used up max_tokens before saying anything": sum(each.ended == "cut" for each in drawn),
        "empty": sum(each.ended == "empty" for each in drawn),
    }
    named = ", ".join(f"{count} {what}" for what, count in counts.items() if count)
    return f" ({named})" if named else ""
