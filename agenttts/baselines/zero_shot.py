"""LLM_ZS, a baseline of the paper (section 6): an LLM proposes from the task alone."""

from __future__ import annotations

from agenttts.baselines.llm import LLMSearcher
from agenttts.proposals import dialogue
from agenttts.space import SearchSpace
from agenttts.study.trial import Archive

_MOST_SHOWN = 100


class ZeroShotSearcher(LLMSearcher):
    """The model is told the task, the models, the budget and what was proposed before; no score and no guideline.

    Within one call it is told which of its proposals were rejected and why: infeasible, or proposed already.
    """

    name = "llm-zs"

    async def _briefing(self, archive: Archive, space: SearchSpace) -> str:
        before = [f"- {trial.allocation}" for trial in archive.trials][-_MOST_SHOWN:]
        told = ["Proposed before, not to be proposed again:\n" + "\n".join(before)] if before else []
        return "\n\n".join([dialogue.task(space), *told])
