"""AgentHPO (Liu et al., arXiv 2402.01881), as the paper compares with it (section 6): guideline and trials in turn."""

from __future__ import annotations

from agenttts.baselines.llm import GuidedSearcher, history
from agenttts.proposals import dialogue
from agenttts.space import SearchSpace
from agenttts.study.trial import Archive

_FIRST = (
    "From what you know of such models and subtasks: which allocations should be tried first, and why?",
    "What should the first trials find out?",
)
_LATER = (
    "What do the scores show: which choices helped, which did not?",
    "Which changes should be tried next, and why?",
)


class AgentHPOSearcher(GuidedSearcher):
    """The same inputs as the paper's agent gets, without its insights; the first guideline is the model's own."""

    name = "agenthpo"

    def _reflection(self, archive: Archive, space: SearchSpace) -> str:
        questions = _LATER if archive.trials else _FIRST
        return "\n\n".join([dialogue.task(space), history(archive, space.scale), dialogue.guideline_request(questions)])
