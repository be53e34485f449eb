"""What an answer took: by the server's usage where it can be, else counted here, so that limits hold in any case.

llama.cpp tells the tokens of one choice only: its own tokenizer counts them all. Where a server tells no usage that can
be, its tokenizer counts the texts if it has one (vLLM, llama.cpp, TGI), else they go by length; the figures are marked
as estimated either way.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from agenttts.llm.answers import Choices
from agenttts.llm.asking import Asker
from agenttts.llm.samples import Completions, Sample
from agenttts.llm.token_counts import (
    completion_tokens_by_length,
    image_tokens,
    prompt_tokens_by_length,
    tokens_by_length,
    tokens_by_llama_cpp,
    tokens_by_server,
    told_cached_tokens,
    told_completion_tokens,
    told_prompt_tokens,
    told_reasoning_tokens,
)
from agenttts.pipeline.tools import message_text

_SHOWN = 200
_log = logging.getLogger(__name__)


@dataclass
class AnswerCounter:
    """Counts the answers of one model at one endpoint."""

    asker: Asker
    who: str
    """As the log names it."""
    served_name: str
    miscounts: bool = False
    """Its usage counts one choice only (llama.cpp)."""
    tokenizes: bool = True
    """Whether its server may have a tokenizer."""
    tells_usage: bool = True
    """Whether its usage has always been one that can be."""
    tells_cut: bool = True
    """Whether it is still to be said that its tokens were used up before it said anything."""

    async def counted(self, choices: Choices, prompt: Sequence[Mapping[str, Any]], most: int) -> Completions:
        """The completions with their tokens.

        Args:
            choices: What was answered.
            prompt: What was asked, the tools that were offered included.
            most: Tokens that each completion may have.
        """
        asked = told_prompt_tokens(choices.usage, prompt)
        counts = await self._told(choices, most)
        estimated = 0
        if asked is None:
            asked = await self._prompt_tokens(prompt)
            estimated += asked
        if counts is None:
            counts = await self._completion_tokens(choices, most)
            estimated += sum(counts)
        if estimated:
            self._tell_of_usage(choices.usage)
        if any(choice.ended == "cut" for choice in choices.usable):
            self._tell_of_cut(most)
        samples = tuple(
            Sample(choice.text, max(count, 0), choice.ended, choice.logprobs)
            for choice, count in zip(choices.usable, counts, strict=True)
        )
        reasoning = told_reasoning_tokens(choices.usage, len(samples))
        return Completions(
            samples,
            asked,
            cached_prompt_tokens=told_cached_tokens(choices.usage, asked),
            reasoning_tokens=min(reasoning, sum(sample.completion_tokens for sample in samples)),
            estimated_tokens=estimated,
        )

    async def _told(self, choices: Choices, most: int) -> list[int] | None:
        """Completion tokens of each choice by the server's usage; None where that cannot be."""
        texts = [choice.generated for choice in choices.usable]
        total = told_completion_tokens(choices.usage, texts, most)
        self.miscounts |= choices.timed  # llama.cpp alone has these
        if total is None:
            return None
        if self.miscounts and len(texts) > 1:
            stopped = [choice.finish_reason == "stop" for choice in choices.usable]
            counts = await tokens_by_llama_cpp(self.asker, self.who, texts, stopped)
            if counts is not None:
                return counts
            total = min(total, most) * len(texts)
        return tokens_by_length(total, texts)

    async def _prompt_tokens(self, prompt: Sequence[Mapping[str, Any]]) -> int:
        counts = await self._tokenized(["\n".join(map(message_text, prompt))])
        return counts[0] + image_tokens(prompt) if counts else prompt_tokens_by_length(prompt)

    async def _completion_tokens(self, choices: Choices, most: int) -> list[int]:
        counts = await self._tokenized([choice.generated for choice in choices.usable])
        if counts is not None:
            return [min(count, most) for count in counts]
        return [
            completion_tokens_by_length(choice.generated, most, cut=choice.finish_reason == "length")
            for choice in choices.usable
        ]

    async def _tokenized(self, texts: Sequence[str]) -> list[int] | None:
        """Tokens of texts by the server's tokenizer; None where it has none."""
        if not self.tokenizes:
            return None
        counts = await tokens_by_server(self.asker, self.who, self.served_name, texts)
        self.tokenizes = counts is not None
        return counts

    def _tell_of_usage(self, usage: Any) -> None:
        if self.tells_usage:
            self.tells_usage = False
            shown = self.asker.scrubbed(str(usage))[:_SHOWN]
            told = "no usage" if usage is None else f"a usage that cannot be ({shown})"
            way = "by its server's tokenizer" if self.tokenizes else "by length"
            _log.warning("%s at %s tells %s: its tokens are counted %s", self.who, self.asker.shown, told, way)

    def _tell_of_cut(self, most: int) -> None:
        if self.tells_cut:
            self.tells_cut = False
            _log.warning(
                "%s used up max_tokens=%d before it said anything: such samples count as unparsable; give its subtask "
                "a larger max_tokens",
                self.who,
                most,
            )
