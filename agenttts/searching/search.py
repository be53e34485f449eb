"""A search from start to end, `agenttts.search`: what is checked before anything is bought, the study, and its loop."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, closing
from dataclasses import replace
from typing import Any

from agenttts.db import Store
from agenttts.errors import ConfigError
from agenttts.execution.meter import Meter
from agenttts.llm.prefix_cache import CacheUse, PrefixCached
from agenttts.posterior.frontier import require_budgets
from agenttts.posterior.insights import recommend
from agenttts.protocols import Environment, Searcher
from agenttts.searching.loop import Recommend, Run
from agenttts.searching.progress import Limits, Progress, SearchResult
from agenttts.searching.racing import Racing
from agenttts.space import SearchSpace
from agenttts.space.prices import price_list, price_rows
from agenttts.study.spec import recorded, study_spec


async def search(
    environment: Environment,
    searcher: Searcher,
    space: SearchSpace,
    store: Store | str,
    *,
    study_name: str,
    seed: int = 0,
    budgets: Sequence[float] = (),
    limits: Limits | None = None,
    parallel: int = 1,
    racing: Racing | None = None,
    choose: Recommend = recommend,
    validate: bool = True,
    details: Mapping[str, Any] | None = None,
    on_progress: Callable[[Progress], None] | None = None,
) -> SearchResult:
    """Search the space, resuming the study of this name where it stands.

    Args:
        environment: Scores allocations.
        searcher: Decides what to try.
        space: Which allocations fit the budget.
        store: Where everything is recorded. A path or URL is opened when all else has been checked, so that a refused
            search leaves no file, and closed at the end.
        study_name: Names the study; one that exists is resumed.
        seed: Part of the study's identity (the searcher has been given it).
        budgets: Several budgets to serve with one study, ascending up to that of the space: the searcher is asked for
            each in turn, and every trial is evidence for all.
        limits: When to stop.
        parallel: Proposals asked for and evaluated at once.
        racing: Shows a trial more examples only where that may change which is best; None shows all to each.
        choose: Chooses the recommended trial, where there is one budget.
        validate: Whether to check the winner on held-out examples at the end.
        details: What a reader needs to repeat the search, kept with the study.
        on_progress: Called whenever something has happened.

    Raises:
        ConfigError: On bad input or a study that exists with other settings, before anything is bought.
        EndpointError: When servers stop answering; what was bought and recorded stays.
    """
    limits = limits or Limits()
    if parallel < 1:
        raise ConfigError(f"parallel must be at least 1, not {parallel}")
    require_budgets(budgets, space.budget)
    spaces = tuple(space.within(budget) for budget in budgets[:-1])
    if limits.max_usd is not None:
        _require_prices(environment)
    async with AsyncExitStack() as stack:
        for each in (searcher, environment):
            if isinstance(each, AbstractAsyncContextManager):
                await stack.enter_async_context(each)
        opened = stack.enter_context(closing(Store(store))) if isinstance(store, str) else store
        spec = study_spec(environment, searcher, space, seed, budgets)
        kept = {
            "recorded": recorded(environment),
            "prices": price_rows(price_list(space)),
            "endpoints": getattr(environment, "endpoints", {}),
        }
        study = opened.start(study_name, spec, {**(details or {}), **kept})
        run = Run(
            environment=environment,
            searcher=searcher,
            space=space,
            spaces=(*spaces, space),
            store=opened,
            study=study,
            limits=limits,
            meter=Meter(limits.max_tokens, limits.max_usd, opened.spend(study)),
            parallel=parallel,
            racing=racing,
            choose=choose,
            validate=validate,
            on_progress=on_progress,
        )
        run.connect()
        before = await _prefix_caches(environment)
        result = await run.finish(await run.loop())
        after = await _prefix_caches(environment)
        used = {name: use.since(before.get(name, CacheUse())) for name, use in after.items()}
        sums = opened.add_cache_use(study, {name: use for name, use in used.items() if use.looked_up})
        return replace(result, prefix_caches={name: CacheUse(*each) for name, each in sums.items()})


async def _prefix_caches(environment: Environment) -> Mapping[str, CacheUse]:
    return await environment.prefix_caches() if isinstance(environment, PrefixCached) else {}


def _require_prices(environment: Environment) -> None:
    embedder = getattr(environment, "embedder", None)
    for model in (*environment.pipeline.models, *([embedder] if embedder else [])):
        if model.usd_per_million_prompt_tokens is None or model.usd_per_million_completion_tokens is None:
            raise ConfigError(
                f"a limit in USD needs the prices of model {model.name!r}: declare usd_per_million_prompt_tokens and "
                "usd_per_million_completion_tokens on the Model"
            )
