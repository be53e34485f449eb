"""Which model should each stage of an LLM pipeline use, and how many samples should it get, under one budget?

    import agenttts as at

Names are loaded on first use, so that the import itself is instant.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from agenttts.agent import AgentSearcher, Insights, LLMPlanner, RulePlanner
    from agenttts.db import Store
    from agenttts.deployment import deployed
    from agenttts.environments import LiveEnvironment, RecordedEnvironment, environment
    from agenttts.errors import AgentTTSError, ConfigError, EndpointError, ParseError, StoreError
    from agenttts.pipeline import (
        Command,
        Model,
        Pipeline,
        Sampling,
        StepRun,
        Subtask,
        SubtaskInput,
        SubtaskRun,
        aggregators,
        metrics,
        operators,
        parsers,
    )
    from agenttts.protocols import Environment, Searcher
    from agenttts.searching import Limits, Racing, SearchPlan, SearchResult, search, searcher
    from agenttts.space import Allocation, Budget, Choice, SearchSpace, cost_model
    from agenttts.study import Archive, Evaluation, ExampleResult, Proposal, Trial

_HOMES = {
    "agenttts.agent": ("AgentSearcher", "Insights", "LLMPlanner", "RulePlanner"),
    "agenttts.db": ("Store",),
    "agenttts.deployment": ("deployed",),
    "agenttts.environments": ("LiveEnvironment", "RecordedEnvironment", "environment"),
    "agenttts.errors": ("AgentTTSError", "ConfigError", "EndpointError", "ParseError", "StoreError"),
    "agenttts.pipeline": (
        "Command",
        "Model",
        "Pipeline",
        "Sampling",
        "StepRun",
        "Subtask",
        "SubtaskInput",
        "SubtaskRun",
    ),
    "agenttts.protocols": ("Environment", "Searcher"),
    "agenttts.searching": ("Limits", "Racing", "SearchPlan", "SearchResult", "search", "searcher"),
    "agenttts.space": ("Allocation", "Budget", "Choice", "SearchSpace", "cost_model"),
    "agenttts.study": ("Archive", "Evaluation", "ExampleResult", "Proposal", "Trial"),
}
_HOME = {name: home for home, names in _HOMES.items() for name in names}
_MODULES = {name: f"agenttts.pipeline.{name}" for name in ("aggregators", "metrics", "operators", "parsers")}

__all__ = [
    "AgentSearcher",
    "AgentTTSError",
    "Allocation",
    "Archive",
    "Budget",
    "Choice",
    "Command",
    "ConfigError",
    "EndpointError",
    "Environment",
    "Evaluation",
    "ExampleResult",
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
    "SearchPlan",
    "SearchResult",
    "SearchSpace",
    "Searcher",
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
    "operators",
    "parsers",
    "search",
    "searcher",
]


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return import_module(_MODULES[name])
    if name not in _HOME:
        raise AttributeError(f"module 'agenttts' has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return __all__
