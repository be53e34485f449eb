"""A search from start to end: what is checked before anything is paid for, the study, and its loop."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack, closing
from dataclasses import replace
from typing import Any, overload

from agenttts.db import Store
from agenttts.execution.meter import Meter
from agenttts.llm.prefix_cache import CacheUse
from agenttts.protocols import Environment, Searcher
from agenttts.searching.counterfactuals import Counterfactuals
from agenttts.searching.ending import SearchEnding
from agenttts.searching.learning import experience_of
from agenttts.searching.loop import SearchLoop
from agenttts.searching.plan import Recommend, SearchPlan
from agenttts.searching.progress import Limits, Progress, SearchResult
from agenttts.searching.racing import Racing
from agenttts.searching.running import RunningSearch
from agenttts.space import Allocation, SearchSpace
from agenttts.space.prices import price_list, price_rows
from agenttts.study.experience import Experience
from agenttts.study.lengths import declared_lengths

_log = logging.getLogger(__name__)


@overload
async def search(plan: SearchPlan, /) -> SearchResult: ...
@overload
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
    baseline: Allocation | None = None,
    counterfactuals: bool = True,
    experience: Sequence[str] | Experience = (),
    choose: Recommend | None = None,
    validate: bool = True,
    details: Mapping[str, Any] | None = None,
    on_progress: Callable[[Progress], None] | None = None,
) -> SearchResult: ...
async def search(*what: Any, **options: Any) -> SearchResult:
    """Search a space, resuming the study of its name where it stands.

    Examples:
        >>> agent, limits = at.searcher("agent", llm="none"), at.Limits(trials=8)
        >>> search = at.search(environment, agent, space, "runs.db", study_name="mine", limits=limits)
        >>> result = asyncio.run(search)  # in a notebook: await search
        >>> print(result.best.allocation)
        find: small x4, answer: small x5

    Args:
        what: A `SearchPlan`, or its environment, searcher, space and store.
        options: The plan's other fields, where it is not given whole.

    Raises:
        ConfigError: On bad input or a study that exists with other settings, before anything is paid for.
        EndpointError: When servers stop answering; what was paid for and recorded stays.
    """
    given = {name: value for name, value in options.items() if value is not None}
    plan = what[0] if len(what) == 1 and isinstance(what[0], SearchPlan) and not options else SearchPlan(*what, **given)
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(plan.searcher)
        environment = await stack.enter_async_context(plan.environment)
        if environment.uncovered:
            _log.warning(
                "the study's identity does not cover %s: a change there is not noticed when it is resumed or deployed",
                "; ".join(environment.uncovered),
            )
        store = stack.enter_context(closing(Store(plan.store))) if isinstance(plan.store, str) else plan.store
        kept = {
            "recorded": environment.recorded,
            "prices": price_rows(price_list(plan.space)),
            "lengths": declared_lengths(plan.space.pipeline),
            "endpoints": dict(environment.endpoints),
        }
        begun = experience_of(plan.experience, store, plan.study_name, fitted=not plan.searcher.learns)
        study = store.start(plan.study_name, plan.spec(environment, begun), {**plan.details, **kept})
        meter = Meter(plan.limits.max_tokens, plan.limits.max_usd, store.spend(study), store.own_spend(study))
        running = RunningSearch(plan=plan, environment=environment, store=store, study=study, meter=meter)
        before = await environment.prefix_caches()
        counterfactuals = Counterfactuals(running)
        stopped = await SearchLoop(running, counterfactuals).run()
        result = await SearchEnding(running, counterfactuals).finish(stopped)
        after = await environment.prefix_caches()
        used = {name: use.since(before.get(name, CacheUse())) for name, use in after.items()}
        sums = store.add_cache_use(study, {name: use for name, use in used.items() if use.looked_up})
        return replace(result, prefix_caches={name: CacheUse(*each) for name, each in sums.items()})
