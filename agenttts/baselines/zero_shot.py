"""LLM_ZS, a baseline of the paper (section 6): an LLM proposes from the task alone."""

from __future__ import annotations

from agenttts.baselines.llm import LLMSearcher
from agenttts.proposals import dialogue
from agenttts.space import SearchSpace
from agenttts.study.trial import Archive


class ZeroShotSearcher(LLMSearcher):
    """The model is told the task, the models and the budget; no trial, no score and no guideline.

    Within one call it is told which of its proposals were rejected and why: infeasible, or tried already.
    """

    name = "llm-zs"

    async def _briefing(self, archive: Archive, space: SearchSpace) -> str:
        return dialogue.task(space)
