"""Which model should each stage of an LLM pipeline use, and how many samples should it get, under one budget?

    import agenttts as at

Names are loaded on first use, so that the import itself is instant.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from agenttts import aggregators, metrics, parsers
    from agenttts.agent import AgentSearcher, Insights, LLMPlanner, RulePlanner
    from agenttts.db import Store
    from agenttts.deployment.file import deployed
    from agenttts.environments import LiveEnvironment, RecordedEnvironment, environment
    from agenttts.errors import AgentTTSError, ConfigError, EndpointError, ParseError, StoreError
    from agenttts.pipeline import Model, Pipeline, Sampling, StepRun, Subtask, SubtaskInput, SubtaskRun
    from agenttts.searching import search
    from agenttts.searching.methods import searcher
    from agenttts.searching.progress import Limits, SearchResult
    from agenttts.searching.racing import Racing
    from agenttts.space import SearchSpace
    from agenttts.space.allocation import Allocation, Choice
    from agenttts.space.cost import Budget, cost_model
    from agenttts.study.evaluation import Evaluation
    from agenttts.study.trial import Archive, Proposal, Trial

_HOMES = {
    "agenttts": ("aggregators", "metrics", "parsers"),
    "agenttts.agent": ("AgentSearcher", "Insights", "LLMPlanner", "RulePlanner"),
    "agenttts.space.allocation": ("Allocation", "Choice"),
    "agenttts.space.cost": ("Budget", "cost_model"),
    "agenttts.db": ("Store",),
    "agenttts.deployment.file": ("deployed",),
    "agenttts.environments": ("LiveEnvironment", "RecordedEnvironment", "environment"),
    "agenttts.errors": ("AgentTTSError", "ConfigError", "EndpointError", "ParseError", "StoreError"),
    "agenttts.study.evaluation": ("Evaluation",),
    "agenttts.searching.methods": ("searcher",),
    "agenttts.pipeline": ("Model", "Pipeline", "Sampling", "StepRun", "Subtask", "SubtaskInput", "SubtaskRun"),
    "agenttts.searching.progress": ("Limits", "SearchResult"),
    "agenttts.searching.racing": ("Racing",),
    "agenttts.searching.search": ("search",),
    "agenttts.space": ("SearchSpace",),
    "agenttts.study.trial": ("Archive", "Proposal", "Trial"),
}
_HOME = {name: home for home, names in _HOMES.items() for name in names}

__all__ = [
    "AgentSearcher",
    "AgentTTSError",
    "Allocation",
    "Archive",
    "Budget",
    "Choice",
    "ConfigError",
    "EndpointError",
    "Evaluation",
    "Insights",
    "LLMPlanner",
    "Limits",
    "LiveEnvironment",
    "Model",
    "ParseError",
    "Pipeline",
    "Proposal",
    "Racing",
    "RecordedEnvironment",
    "RulePlanner",
    "Sampling",
    "SearchResult",
    "SearchSpace",
    "StepRun",
    "Store",
    "StoreError",
    "Subtask",
    "SubtaskInput",
    "SubtaskRun",
    "Trial",
    "aggregators",
    "cost_model",
    "deployed",
    "environment",
    "metrics",
    "parsers",
    "search",
    "searcher",
]


def __getattr__(name: str) -> Any:
    home = _HOME.get(name)
    if home is None:
        raise AttributeError(f"module 'agenttts' has no attribute {name!r}")
    return import_module(f"agenttts.{name}") if home == "agenttts" else getattr(import_module(home), name)


def __dir__() -> list[str]:
    return __all__
