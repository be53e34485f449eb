"""Running searches for the command line: from its options to the plan of a search, with progress shown.

Everything that can be rejected without a store is rejected before one is opened, so that bad input leaves no file.
"""

from __future__ import annotations

import math
import os
import platform
import shlex
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from importlib.metadata import version
from types import MappingProxyType
from typing import NamedTuple

from rich.console import Console

from agenttts._util.hints import program
from agenttts.cli.console import command_line, open_console, print_pair, print_wrapped
from agenttts.cli.forecast import confirm, forecast_lines, forecast_of, forecast_table
from agenttts.cli.live import print_heading, show_progress
from agenttts.cli.options import DEFAULT_STORE
from agenttts.cli.problem import Problem
from agenttts.cli.store import open_store
from agenttts.db import location
from agenttts.environments.live import LiveEnvironment
from agenttts.errors import ConfigError
from agenttts.execution.threads import run_to_end
from agenttts.llm.endpoint import shown_url
from agenttts.llm.pulse import GIVE_UP_AFTER_S
from agenttts.protocols import Environment, Searcher
from agenttts.report import Comparison, compare_runs, frontier_table, summary_lines
from agenttts.searching.learning import experience_of
from agenttts.searching.methods import method, method_names, searcher
from agenttts.searching.plan import SearchPlan
from agenttts.searching.progress import Limits, Progress, SearchResult
from agenttts.searching.racing import Racing
from agenttts.searching.start import search
from agenttts.space import Allocation
from agenttts.tracking import tracker

_LONGEST = 60
"""Characters of studies' names in the name of another one."""


class PlannerModel(NamedTuple):
    """The LLM that a method asks, as the command line names it."""

    name: str | None = None
    base_url: str | None = None
    key_env: str | None = None
    headers: Mapping[str, str] = MappingProxyType({})
    """Name -> environment variable of the value."""
    timeout_s: float | None = None
    share_examples: bool = False
    give_up_after_s: float = GIVE_UP_AFTER_S

    @classmethod
    def parse(
        cls,
        name: str | None,
        base_url: str | None,
        key_env: str | None,
        headers: Sequence[str],
        timeout_minutes: float | None,
        share_examples: bool = False,
        give_up_after_minutes: float = GIVE_UP_AFTER_S / 60,
    ) -> PlannerModel:
        """As the options give it.

        Raises:
            ConfigError: On a header that is no NAME=VARIABLE, or a time that is none.
        """
        if timeout_minutes is not None and not 0 < timeout_minutes < math.inf:
            raise ConfigError(f"--llm-timeout must be minutes, more than 0, not {timeout_minutes:g}")
        pairs = [each.partition("=") for each in headers]
        for given, (header, _, variable) in zip(headers, pairs, strict=True):
            if not header or not variable.isidentifier():
                raise ConfigError(
                    f"--llm-header takes NAME=VARIABLE, the environment variable that holds the value, not {given!r}"
                )
        return cls(name, base_url, key_env, {header: variable for header, _, variable in pairs},
                   None if timeout_minutes is None else 60 * timeout_minutes, share_examples,
                   60 * give_up_after_minutes)  # fmt: skip


def plan(
    problem: Problem,
    name: str,
    *,
    seed: int,
    llm: PlannerModel,
    store: str,
    limits: Limits,
    parallel: int,
    insights_off: frozenset[int] = frozenset(),
    experience: Sequence[str] = (),
    racing: bool = True,
    baseline: Allocation | None = None,
    counterfactuals: bool = True,
    study: str | None = None,
    ray: str | None = None,
) -> SearchPlan:
    """One search of a problem: choose the method, and name the study.

    Args:
        ray: Address of the Ray cluster whose workers run the examples; None runs them here.

    Raises:
        ConfigError: On an unknown method or an option that does not fit it.
    """
    chosen = searcher(
        name,
        seed=seed,
        llm=llm.name,
        llm_base_url=llm.base_url,
        llm_key_env=llm.key_env,
        llm_headers=llm.headers,
        llm_timeout_s=llm.timeout_s,
        llm_give_up_after_s=llm.give_up_after_s,
        share_examples=llm.share_examples,
        insights_off=insights_off,
    )
    # What has raced and what has not must not end up in one study.
    without = "".join(f"-no{number}" for number in sorted(insights_off)) + ("" if racing else "-noracing")
    without += "" if counterfactuals else "-nocounterfactuals"
    without += f"-after-{_in_a_name(experience)}" if experience else ""
    cost = f"{problem.space.cost_model.name}{problem.budget_name}"
    study = study or f"{problem.environment.name}-{cost}-{chosen.title}{without}-s{seed}"
    return SearchPlan(
        problem.environment if ray is None else _on_ray(problem, ray, store),
        chosen,
        problem.space,
        store,
        study_name=study,
        seed=seed,
        budgets=problem.budgets,
        limits=limits,
        parallel=parallel,
        racing=Racing() if racing else None,
        baseline=baseline,
        counterfactuals=counterfactuals,
        experience=experience,
        details={
            "command": command_line(),
            "agenttts": version("agenttts"),
            "python": platform.python_version(),
            "planner": chosen.title,
            "environment": problem.env,
            "data": problem.data or "",
            **({} if problem.calibration is None else {"throughput": problem.calibration.as_dict()}),
        },
    )


def taught(plans: Sequence[SearchPlan], store: str) -> list[SearchPlan]:
    """Plans with what the studies that they name teach, before servers start for them; none teaches another.

    Raises:
        ConfigError: When a study cannot teach.
    """
    if not any(plan.experience for plan in plans):
        return list(plans)
    names = {plan.study_name for plan in plans}
    with closing(open_store(store)) as opened:
        return [
            replace(plan, experience=experience_of(plan.experience, opened, plan.study_name,
                                                   fitted=not plan.searcher.learns, beside=names) or ())
            for plan in plans
        ]  # fmt: skip


def _in_a_name(studies: Sequence[str]) -> str:
    """Studies as a part of another one's name."""
    joined = "+".join(studies)
    return joined if len(joined) <= _LONGEST else f"{len(studies)}-studies-{zlib.crc32(joined.encode()):08x}"


def _on_ray(problem: Problem, address: str, store: str) -> Environment:
    """The problem's environment, its examples run by the workers of a cluster."""
    from agenttts.environments.ray import RayEnvironment

    return RayEnvironment(
        problem.environment, address, store=store, name=problem.env, data=problem.data, endpoints=problem.endpoints
    )


def method_in_words(searcher: Searcher) -> str:
    """The method, and what the agent would need for an LLM."""
    if searcher.title == "agent-rules":
        return "agent, planned by rules (no LLM: set OPENAI_API_KEY, or --llm MODEL with OPENAI_BASE_URL)"
    return searcher.title


def run_search(problem: Problem, plan: SearchPlan, track: Sequence[str] = (), *, confirm_above: float) -> None:
    """Search, and print how it goes and how it ends; tell trackers of these names the same.

    Args:
        problem: What is searched.
        plan: How.
        track: Names of trackers.
        confirm_above: Dollars to expect from which on a person at a terminal is asked.
    """
    console, trackers, location = open_console(), [tracker(name) for name in track], _location(plan)
    found = forecast_of(plan) if isinstance(problem.environment, LiveEnvironment) else None

    def heading(recorded: str) -> Iterable[tuple[str, str]]:
        more = [] if found is None or recorded else forecast_lines(found, plan)
        return problem.heading(recorded, *_named(plan, location), *more)

    with show_progress(console, heading) as on_progress:

        def told(progress: Progress) -> None:
            on_progress(progress)
            if progress.phase == "starting" and found is not None and not progress.study.details.get("recorded"):
                confirm(console, found, plan, confirm_above)
            for each in trackers:
                each(progress)

        result = run_to_end(search(replace(plan, on_progress=told)))
    for each in trackers:
        each.finish(result)
    console.print()
    for line in summary_lines(result):
        print_wrapped(console, line, indent=2)
    if result.frontier is not None:
        console.print()
        console.print(frontier_table(result.frontier, problem.space.scale))
    print_next_steps(console, result.study.name, str(plan.store))


def _named(plan: SearchPlan, location: str) -> list[tuple[str, str]]:
    learned = [("experience", str(plan.experience))] if plan.experience else []
    return [("method", method_in_words(plan.searcher)), *learned, ("study", f"{plan.study_name} in {location}")]


def show_forecast(problem: Problem, plan: SearchPlan) -> None:
    """Print what a search will take, model by model; nothing is asked, written or paid for."""
    console, found = open_console(), forecast_of(plan)
    label = problem.environment.recorded
    print_heading(console, problem.heading(label, *_named(plan, _location(plan)), *forecast_lines(found, plan)))
    console.print()
    console.print(forecast_table(found))


def print_next_steps(console: Console, study: str, store: str) -> None:
    """Commands that go on from a search: there to be copied, so they are not broken into lines.

    Args:
        console: Where they are printed.
        study: Name of the study.
        store: As the search was given it; what may be a secret of it is not shown.
    """
    where = ""
    if store != os.environ.get("AGENTTTS_STORE", DEFAULT_STORE):
        if location(store) == store:
            where = f" --store {shlex.quote(store)}"
        else:
            print_wrapped(console, "Set AGENTTTS_STORE to the store's URL, not shown as it may hold a password; then:")
    name = shlex.quote(study)
    console.print(f"See why:  {program()} trace {name}{where}", soft_wrap=True)
    console.print(f"Keep it:  {program()} best {name}{where} > allocation.yaml", soft_wrap=True)


def _location(plan: SearchPlan) -> str:
    """The store, without anything that may be a secret."""
    store = str(plan.store)
    return shown_url(store) if "://" in store else location(store)


Planned = Callable[..., SearchPlan]
"""`plan` of a problem, with what all searches of a comparison share."""


def run_comparison(
    problem: Problem,
    planned: Planned,
    methods: Sequence[str],
    seeds: int,
    *,
    llm: PlannerModel,
    experience: Sequence[str] = (),
    quiet: bool,
) -> list[Comparison]:
    """Every method with every seed; each run is a study of its own that can be resumed.

    Raises:
        ConfigError: On no method, a method named twice or unknown, or fewer than one seed.
    """
    require_seeds(seeds)
    _require_distinct(methods)
    # Without any method that asks one, an LLM that was given must show as the mistake it is.
    asking = {name for name in methods if method(name).may_ask_llm} or set(methods)
    sharing = {name for name in methods if name == "agent"} or set(methods)
    plans: list[SearchPlan] = []
    for name in methods:
        mine = llm._replace(share_examples=llm.share_examples and name in sharing)
        given = {"llm": mine if name in asking else PlannerModel(), "experience": experience}
        plans += [planned(name, seed=seed, **given) for seed in range(seeds)]
    rows: dict[str, list[SearchPlan]] = {}
    for plan in taught(plans, str(plans[0].store)):
        rows.setdefault(plan.searcher.title, []).append(plan)
    return compare_rows(problem, rows, quiet=quiet)


def compare_rows(
    problem: Problem, rows: Mapping[str, Sequence[SearchPlan]], *more: tuple[str, str], quiet: bool
) -> list[Comparison]:
    """Search every plan of every row, by the row's name, and summarise each row; `more` ends the heading."""
    console = open_console(stderr=True, quiet=quiet)
    shown: list[Progress] = []

    def told(progress: Progress) -> None:
        if not shown:
            shown.append(progress)
            print_heading(console, problem.heading(progress.study.details["recorded"], *more))

    async def compared(plan: SearchPlan) -> SearchResult:
        result = await search(replace(plan, on_progress=told))
        print_pair(console, f"{plan.study_name}:", str(result.best.allocation), gap=1, indent=2)
        return result

    async def every() -> list[Comparison]:
        async with problem.environment:  # its servers start once for all searches
            return [compare_runs(name, [await compared(plan) for plan in plans]) for name, plans in rows.items()]

    return run_to_end(every())


def require_seeds(seeds: int) -> None:
    """Check how many seeds a comparison has.

    Raises:
        ConfigError: On fewer than one.
    """
    if seeds < 1:
        raise ConfigError(f"seeds must be at least 1, not {seeds}")


def _require_distinct(methods: Sequence[str]) -> None:
    if not methods:
        raise ConfigError(f"--methods names no method: give some of {', '.join(method_names())}, separated by commas")
    for name, count in Counter(methods).items():
        if count > 1:
            raise ConfigError(f"--methods names {name!r} {count} times: name each method once")
