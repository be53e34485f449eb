"""Finding a search method by name.

Third parties register a name with the entry-point group `agenttts.searchers`; the entry is a class that inherits from
`protocols.Searcher`, called with `seed=` and what its class says that it takes.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from importlib.metadata import entry_points
from inspect import isclass
from typing import Any, cast

from agenttts._util.plugins import blamed
from agenttts.errors import ConfigError
from agenttts.llm.endpoint import has_openai_key
from agenttts.llm.pulse import GIVE_UP_AFTER_S
from agenttts.protocols import Searcher

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


def method_names() -> dict[str, str]:
    """Registered name -> where it is defined, built-in ones first.

    Examples:
        >>> from agenttts.searching import method_names
        >>> list(method_names())[:3]
        ['agent', 'random', 'grid']
    """
    return {**_BUILT_IN, **{entry.name: entry.value for entry in entry_points(group=GROUP)}}


def method(name: str) -> type[Searcher]:
    """The class of the method of this name: it says whether it asks an LLM, and whether it learns.

    Raises:
        ConfigError: When there is no such method, or what is registered is no searcher.
    """
    names = method_names()
    if name not in names:
        raise ConfigError(f"there is no method {name!r}; choose one of {', '.join(names)}")
    module, _, attribute = names[name].partition(":")
    with blamed(f"the method {name!r} ({names[name]})"):
        loaded = import_module(module)
    found = getattr(loaded, attribute, None)
    if not (isclass(found) and issubclass(found, Searcher)):
        raise ConfigError(
            f"the method {name!r} is registered as {names[name]}, which must be a class that inherits from "
            f"agenttts.protocols.Searcher, not {found!r:.100}"
        )
    return found


def searcher(
    name: str,
    *,
    seed: int = 0,
    llm: str | None = None,
    llm_base_url: str | None = None,
    llm_key_env: str | None = None,
    llm_headers: Mapping[str, str] | None = None,
    llm_timeout_s: float | None = None,
    llm_give_up_after_s: float = GIVE_UP_AFTER_S,
    share_examples: bool = False,
    insights_off: frozenset[int] = frozenset(),
) -> Searcher:
    """The searcher of this name.

    Examples:
        >>> at.searcher("tpe", seed=3).name
        'tpe'
        >>> at.searcher("agent", llm="none").title
        'agent-rules'

    Args:
        name: A registered method.
        seed: Of its random choices.
        llm: Model that is asked, by a method that asks one; when None, the paper's model if there is a key for
            OpenAI's own endpoint. "none" asks none: the agent then plans by rules, as it does when there is no key.
        llm_base_url: Where it is asked; OPENAI_BASE_URL, else OpenAI's own endpoint, when None.
        llm_key_env: Environment variable of its key; when None as for `Model.api_key_env`.
        llm_headers: Further headers of its requests -> the environment variable of each value, as `Model.headers`.
        llm_timeout_s: Seconds that one reply may take; half an hour when None.
        llm_give_up_after_s: Seconds without any part of a reply after which the method goes on without it.
        share_examples: Whether the agent's LLM is shown a few examples that the best trial fails, also where it is
            asked elsewhere than the pipeline's models.
        insights_off: Which of the paper's insights (1, 2, 3) the agent does without.

    Raises:
        ConfigError: When there is no such method, an option does not fit it, or it needs one that is not given.
    """
    kind: Any = method(name)
    place: dict[str, Any] = {"base_url": llm_base_url, "api_key_env": llm_key_env, "headers": llm_headers}
    if llm_timeout_s is not None:
        place["timeout_s"] = llm_timeout_s
    _require_fitting(name, kind, llm, any(place.values()), insights_off)
    place["give_up_after_s"] = llm_give_up_after_s
    if name == "agent":
        return _agent(seed, llm, {**place, "share_examples": share_examples}, insights_off)
    if share_examples:
        raise ConfigError(f"only the LLM of the method 'agent' is shown examples, not that of {name!r}")
    given = {"seed": seed, **_planner(name, kind, llm, place)}
    called = ", ".join(f"{each}=" for each in given)
    with blamed(f"the method {name!r} ({method_names()[name]}), called with {called}"):
        return cast(Searcher, kind(**given))


def _require_fitting(
    name: str, kind: type[Searcher], llm: str | None, endpoint: bool, insights_off: frozenset[int]
) -> None:
    """Reject options that the method has no use for."""
    if insights_off and name != "agent":
        raise ConfigError(f"only the method 'agent' has insights to switch off, not {name!r}")
    if llm not in (None, NO_LLM) and not kind.may_ask_llm:
        raise ConfigError(f"the method {name!r} asks no LLM, so there is nothing to ask {llm!r}: leave --llm out")
    if endpoint and llm in (None, NO_LLM):
        raise ConfigError(
            "an endpoint, a key, a header or a time-out of the planner is given, but no model to ask there: give "
            "--llm MODEL"
        )


def _planner(name: str, kind: type[Searcher], llm: str | None, place: Mapping[str, Any]) -> dict[str, Any]:
    """The LLM of a method that asks one."""
    from agenttts.llm.chat import DEFAULT_MODEL, ChatModel

    given = llm != NO_LLM and (bool(llm) or has_openai_key())
    if kind.needs_llm and not given:
        raise ConfigError(
            f"the method {name!r} asks an LLM: name one with --llm MODEL, and its endpoint with OPENAI_BASE_URL, "
            "or set OPENAI_API_KEY for the paper's"
        )
    if not kind.may_ask_llm or not given:
        return {}
    return {"planner": ChatModel(llm or DEFAULT_MODEL, **place)}


def _agent(seed: int, llm: str | None, place: Mapping[str, Any], insights_off: frozenset[int]) -> Searcher:
    from agenttts.agent import AgentSearcher, Insights, LLMPlanner, RulePlanner
    from agenttts.llm.chat import DEFAULT_MODEL

    if not insights_off <= {1, 2, 3}:
        raise ConfigError(f"the insights are 1, 2 and 3, not {', '.join(map(str, sorted(insights_off - {1, 2, 3})))}")
    insights = Insights(
        model_preference=1 not in insights_off, saturation=2 not in insights_off, interaction=3 not in insights_off
    )
    model = llm or (DEFAULT_MODEL if has_openai_key() else NO_LLM)
    if model == NO_LLM and place["share_examples"]:
        raise ConfigError("examples are to be shown to the planner, but it asks no LLM: give --llm MODEL")
    planner = RulePlanner() if model == NO_LLM else LLMPlanner(model, **place)
    return AgentSearcher(planner, insights=insights, seed=seed)
