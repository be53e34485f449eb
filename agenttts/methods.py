"""Finding a search method by name.

Third parties register a name with the entry-point group `agenttts.searchers`; the entry is called with `seed=`.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from importlib import import_module
from importlib.metadata import entry_points
from typing import Any, cast

from agenttts.errors import ConfigError
from agenttts.trial import Searcher

GROUP = "agenttts.searchers"
NO_LLM = "none"
"""Value of `llm` that asks for the rule planner."""

_BUILT_IN = {
    "agent": "agenttts.agent:AgentSearcher",
    "random": "agenttts.baselines:RandomSearcher",
    "grid": "agenttts.baselines:GridSearcher",
    "tpe": "agenttts.baselines:TPESearcher",
    "gp": "agenttts.baselines:GPSearcher",
    "evolution": "agenttts.baselines:EvolutionSearcher",
    "coordinate": "agenttts.baselines:CoordinateSearcher",
}


def method_names() -> dict[str, str]:
    """Registered name -> where it is defined, built-in ones first."""
    return {**_BUILT_IN, **{entry.name: entry.value for entry in entry_points(group=GROUP)}}


def searcher(
    name: str, *, seed: int = 0, llm: str | None = None, insights_off: frozenset[int] = frozenset()
) -> Searcher:
    """The searcher of this name.

    Args:
        name: A registered method.
        seed: Of its random choices.
        llm: Model that the agent asks; "none" for the rule planner; when None, the paper's model if OPENAI_API_KEY is
            set, else the rule planner. Other methods ask no model.
        insights_off: Which of the paper's insights (1, 2, 3) the agent does without.

    Raises:
        ConfigError: When there is no such method, or an option does not fit it.
    """
    names = method_names()
    if name not in names:
        raise ConfigError(f"there is no method {name!r}; choose one of {', '.join(names)}")
    if name == "agent":
        return _agent(seed, llm, insights_off)
    if insights_off:
        raise ConfigError(f"only the method 'agent' has insights to switch off, not {name!r}")
    module, _, attribute = names[name].partition(":")
    factory = cast(Callable[..., Any], getattr(import_module(module), attribute))
    return cast(Searcher, factory(seed=seed))


def _agent(seed: int, llm: str | None, insights_off: frozenset[int]) -> Searcher:
    from agenttts.agent import AgentSearcher, Insights, LLMPlanner, RulePlanner

    if not insights_off <= {1, 2, 3}:
        raise ConfigError(f"the insights are 1, 2 and 3, not {', '.join(map(str, sorted(insights_off - {1, 2, 3})))}")
    insights = Insights(
        model_preference=1 not in insights_off, saturation=2 not in insights_off, interaction=3 not in insights_off
    )
    model = llm or (None if os.environ.get("OPENAI_API_KEY") else NO_LLM)
    if model == NO_LLM:
        return AgentSearcher(RulePlanner(), insights=insights, seed=seed)
    return AgentSearcher(LLMPlanner(model) if model else LLMPlanner(), insights=insights, seed=seed)
