"""MLCopilot (Zhang et al., EACL 2024), as the paper compares with it (section 6): it starts from experience."""

from __future__ import annotations

from agenttts._util.numbers import Scale
from agenttts.baselines.agenthpo import AgentHPOSearcher
from agenttts.baselines.llm import shown_trials
from agenttts.proposals import dialogue
from agenttts.space import SearchSpace
from agenttts.study.trial import Archive

_QUESTIONS = (
    "What do the trials of the similar pipeline show: which sizes and sample counts paid off, and where?",
    "What of that should hold for this pipeline, and which allocations should be tried first?",
)


_AS_GIVEN = Scale(1.0, "", "")
"""The unit of another study is not known."""


class MLCopilotSearcher(AgentHPOSearcher):
    """The first guideline comes from the search history of similar tasks; then it goes on like AgentHPO.

    Args:
        planner: The chat model; the paper's (`chat.DEFAULT_MODEL`) when None.
        seed: Of what is drawn where the model gives nothing usable.

    Raises:
        ConfigError: When OpenAI's endpoint is meant and the key is not set.
    """

    name = "mlcopilot"
    learns = True

    def _reflection(self, archive: Archive, space: SearchSpace) -> str:
        if archive.guidelines:
            return super()._reflection(archive, space)
        similar = shown_trials("Trials of a similar pipeline, with costs in its own unit", archive.similar, _AS_GIVEN)
        return "\n\n".join([dialogue.task(space), similar, dialogue.guideline_request(_QUESTIONS)])
