"""One turn of a multi-turn stage: the stage's samples of one prompt, merged into one reply by the stage's own model.

This is the paper's operator (eq. 1) in every turn. In the authors' code the number of samples of a ChatDev stage is
handed down and lost before the model is asked, so that each turn is one sample whatever the allocation says.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from agenttts.errors import ParseError
from agenttts.pipeline import Message, Parser, SubtaskRun
from agenttts.pipeline.aggregators import Fuse
from agenttts.pipeline.fingerprint import identified

TURNS = 2
"""Turns of a stage at most: write and complete, review and revise, explain and fix."""


@identified("tasks.chatdev.fuse_turns", version=1, unscored=("name", "turns"))
@dataclass(frozen=True)
class FuseTurns(Fuse):
    """Fuses the samples of each turn; costs what all turns draw and fuse."""

    turns: int = TURNS

    def extra_tokens(self, samples: Any, prompt_tokens: float, completion_tokens: float) -> tuple[Any, Any]:
        prompt, completion = super().extra_tokens(samples, prompt_tokens, completion_tokens)
        further = self.turns - 1  # a subtask's own tokens are those of its first turn
        return (
            self.turns * prompt + further * prompt_tokens,
            self.turns * completion + further * np.multiply(samples, completion_tokens),
        )


class _TurnRun:
    """The handle of a stage, as its aggregator is to see it in one turn."""

    def __init__(self, stage: SubtaskRun, messages: Sequence[Message], parser: Parser) -> None:
        self.messages = messages
        self.subtask = replace(stage.subtask, parser=parser)
        self.model, self.samples, self.input = stage.model, stage.samples, stage.input
        self.draw, self.embed, self.count_unparsable = stage.draw, stage.embed, stage.count_unparsable
        self.sample, self.usable, self.require_usable = stage.sample, stage.usable, stage.require_usable
        self.reward, self.parse = stage.reward, stage.parse


async def ask(stage: SubtaskRun, messages: Sequence[Message], parser: Parser) -> str | None:
    """One turn's reply.

    Args:
        stage: The stage's handle.
        messages: The prompt.
        parser: Sample -> text; a sample that it rejects is a counted non-vote.

    Returns:
        The fused text; None when no sample, or not their fusion, was usable.
    """
    usable = []
    for sample in await stage.draw(messages):
        try:
            usable.append(parser(sample, stage.input))
        except ParseError:
            stage.count_unparsable()
    if not usable:
        return None
    try:
        return str(await (stage.subtask.aggregator or FuseTurns()).aggregate(usable, _TurnRun(stage, messages, parser)))
    except ParseError:
        return None
