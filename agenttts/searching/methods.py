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
from agenttts.protocols import Searcher
from agenttts.study.trial import Archive

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
    "halving": "agenttts.baselines:HalvingSearcher",
    "llm-zs": "agenttts.baselines:ZeroShotSearcher",
    "agenthpo": "agenttts.baselines:AgentHPOSearcher",
    "mlcopilot": "agenttts.baselines:MLCopilotSearcher",
    "agenttts-paper": "agenttts.baselines:PaperSearcher",
}
_LLM_DRIVEN = frozenset({"llm-zs", "agenthpo", "mlcopilot", "agenttts-paper"})


def method_names() -> dict[str, str]:
    """Registered name -> where it is defined, built-in ones first."""
    return {**_BUILT_IN, **{entry.name: entry.value for entry in entry_points(group=GROUP)}}


def may_ask_llm(name: str) -> bool:
    """Whether the method of this name asks an LLM: always, or, like the agent, if one is given."""
    return name == "agent" or name in _LLM_DRIVEN


def needs_llm(name: str) -> bool:
    """Whether there is nothing to the method of this name without an LLM."""
    return name in _LLM_DRIVEN


def learns(name: str) -> bool:
    """Whether the method of this name begins with the experience of another study."""
    return name == "mlcopilot"


def searcher(
    name: str,
    *,
    seed: int = 0,
    llm: str | None = None,
    insights_off: frozenset[int] = frozenset(),
    experience: Archive | None = None,
) -> Searcher:
    """The searcher of this name.

    Args:
        name: A registered method.
        seed: Of its random choices.
        llm: Model that is asked, by a method that asks one; when None, the paper's model if OPENAI_API_KEY is set.
            "none" asks none: the agent then plans by rules, as it does when there is no key.
        insights_off: Which of the paper's insights (1, 2, 3) the agent does without.
        experience: The archive of a study of a similar task, from which 'mlcopilot' learns.

    Raises:
        ConfigError: When there is no such method, an option does not fit it, or it needs one that is not given.
    """
    names = method_names()
    if name not in names:
        raise ConfigError(f"there is no method {name!r}; choose one of {', '.join(names)}")
    _refuse_misfits(name, llm, insights_off, experience)
    if name == "agent":
        return _agent(seed, llm, insights_off)
    module, _, attribute = names[name].partition(":")
    factory = cast(Callable[..., Any], getattr(import_module(module), attribute))
    arguments = _llm_arguments(name, llm, experience) if needs_llm(name) else {}
    return cast(Searcher, factory(seed=seed, **arguments))


def _refuse_misfits(name: str, llm: str | None, insights_off: frozenset[int], experience: Archive | None) -> None:
    if insights_off and name != "agent":
        raise ConfigError(f"only the method 'agent' has insights to switch off, not {name!r}")
    if llm not in (None, NO_LLM) and not may_ask_llm(name):
        raise ConfigError(f"the method {name!r} asks no LLM, so there is nothing to ask {llm!r}: leave --llm out")
    if experience is not None and not learns(name):
        raise ConfigError(f"only the method 'mlcopilot' learns from the experience of another study, not {name!r}")


def _llm_arguments(name: str, llm: str | None, experience: Archive | None) -> dict[str, Any]:
    from agenttts.llm.chat import ChatModel

    if learns(name) and experience is None:
        raise ConfigError(
            "the method 'mlcopilot' learns from a study of a similar task: name one of the same store with "
            "--experience STUDY (in Python: searcher('mlcopilot', experience=store.archive(store.study('NAME'))))"
        )
    if llm == NO_LLM or not (llm or os.environ.get("OPENAI_API_KEY")):
        raise ConfigError(
            f"the method {name!r} asks an LLM: name one with --llm MODEL, and its endpoint with OPENAI_BASE_URL, "
            "or set OPENAI_API_KEY for the paper's"
        )
    planner = ChatModel(llm) if llm else ChatModel()
    return {"planner": planner, **({} if experience is None else {"experience": experience})}


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
