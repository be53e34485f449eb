"""Running searches for the command line: from its options to the library's objects, with progress shown.

Everything that can be refused without a store is refused before one is opened, so that bad input leaves no file.
"""

from __future__ import annotations

import asyncio
import platform
import shlex
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, nullcontext
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from typing import Any, NamedTuple

from agenttts.chat import shown_url
from agenttts.cli.console import command_line, open_console, print_pair, print_wrapped
from agenttts.cli.options import DEFAULT_STORE
from agenttts.cli.problem import Problem
from agenttts.cli.progress import print_heading, show_progress
from agenttts.db import location
from agenttts.errors import ConfigError
from agenttts.loop import Recommend
from agenttts.methods import learns, may_ask_llm, method_names, searcher
from agenttts.posterior import recommend
from agenttts.progress import Limits, Progress, SearchResult
from agenttts.protocols import Searcher
from agenttts.racing import Racing
from agenttts.report import Comparison, compare_runs, frontier_table, summary_lines
from agenttts.searching import search as run
from agenttts.tracking import tracker
from agenttts.trial import Archive


@dataclass(frozen=True, kw_only=True)
class Job:
    """Who searches, and the study that it is recorded as."""

    searcher: Searcher
    seed: int
    study: str
    choose: Recommend = recommend

    @classmethod
    def create(
        cls,
        problem: Problem,
        method: str,
        *,
        seed: int,
        llm: str | None,
        insights_off: frozenset[int] = frozenset(),
        experience: Archive | None = None,
        racing: bool = True,
        study: str | None = None,
    ) -> Job:
        """Choose the method and name the study.

        Raises:
            ConfigError: On an unknown method or an option that does not fit it.
        """
        chosen = searcher(method, seed=seed, llm=llm, insights_off=insights_off, experience=experience)
        # What has raced and what has not must not end up in one study.
        without = "".join(f"-no{number}" for number in sorted(insights_off)) + ("" if racing else "-noracing")
        cost = f"{problem.space.cost_model.name}{problem.budget_name}"
        name = study or f"{problem.environment.name}-{cost}-{planned(chosen)}{without}-s{seed}"
        return cls(searcher=chosen, seed=seed, study=name)

    @property
    def method(self) -> str:
        """The method in words."""
        name = planned(self.searcher)
        if name == "agent-rules":
            return "agent, planned by rules (no LLM: set OPENAI_API_KEY, or --llm MODEL with OPENAI_BASE_URL)"
        return name


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How a search runs, whatever it searches."""

    limits: Limits
    parallel: int
    racing: bool
    store: str
    ray: str | None = None
    """Address of the Ray cluster whose workers run the examples; None runs them here."""

    @property
    def location(self) -> str:
        """The store, without anything that may be a secret."""
        return shown_url(self.store) if "://" in self.store else location(self.store)


def run_search(problem: Problem, job: Job, settings: Settings, track: Sequence[str] = ()) -> None:
    """Search, and print how it goes and how it ends; tell trackers of these names the same."""
    console, trackers = open_console(), [tracker(name) for name in track]
    heading = problem.heading(("method", job.method), ("study", f"{job.study} in {settings.location}"))
    with show_progress(console, heading) as on_progress:

        def told(progress: Progress) -> None:
            on_progress(progress)
            for each in trackers:
                each(progress)

        result = asyncio.run(_search(problem, job, settings, told))
    for each in trackers:
        each.finish(result)
    console.print()
    for line in summary_lines(result, problem.space.cost_model.unit, problem.space.budget):
        print_wrapped(console, line, indent=2)
    if result.frontier is not None:
        console.print()
        console.print(frontier_table(result.frontier, problem.space.cost_model.unit))
    where = "" if settings.location == DEFAULT_STORE else f" --store {shlex.quote(settings.location)}"
    # Commands are there to be copied: they are not broken into lines.
    console.print(f"See why:  agenttts trace {result.study.name}{where}", soft_wrap=True)
    console.print(f"Keep it:  agenttts best {result.study.name}{where} > allocation.yaml", soft_wrap=True)


class Run(NamedTuple):
    """One search of a comparison."""

    job: Job
    settings: Settings


def run_comparison(
    problem: Problem,
    methods: Sequence[str],
    seeds: int,
    settings: Settings,
    *,
    llm: str | None,
    experience: Archive | None = None,
    quiet: bool,
) -> list[Comparison]:
    """Every method with every seed; each run is a study of its own that can be resumed.

    Raises:
        ConfigError: On no method, a method named twice or unknown, or fewer than one seed.
    """
    require_seeds(seeds)
    _require_distinct(methods)
    # Without any method that asks one, an LLM that was given must show as the mistake it is; so must an experience.
    asking = {method for method in methods if may_ask_llm(method)} or set(methods)
    learning = {method for method in methods if learns(method)} or set(methods)
    rows: dict[str, list[Run]] = {}
    for method in methods:
        create = partial(
            Job.create,
            problem,
            method,
            llm=llm if method in asking else None,
            experience=experience if method in learning else None,
            racing=settings.racing,
        )
        jobs = [create(seed=seed) for seed in range(seeds)]
        rows[planned(jobs[0].searcher)] = [Run(job, settings) for job in jobs]
    return compare_rows(problem, rows, heading=problem.heading(), quiet=quiet)


def compare_rows(
    problem: Problem, rows: Mapping[str, Sequence[Run]], *, heading: Iterable[tuple[str, str]], quiet: bool
) -> list[Comparison]:
    """Search every run of every row, by the row's name, and summarise each row."""
    console = open_console(stderr=True, quiet=quiet)
    lines = iter(heading)  # printed, and so used up, by the first report

    async def compared(run: Run) -> SearchResult:
        result = await _search(problem, run.job, run.settings, lambda _: print_heading(console, lines))
        print_pair(console, f"{run.job.study}:", str(result.best.allocation), gap=1, indent=2)
        return result

    async def every() -> list[Comparison]:
        async with AsyncExitStack() as stack:
            if isinstance(problem.environment, AbstractAsyncContextManager):
                await stack.enter_async_context(problem.environment)  # its servers start once for all searches
            return [compare_runs(name, [await compared(run) for run in runs]) for name, runs in rows.items()]

    return asyncio.run(every())


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
    for method, count in Counter(methods).items():
        if count > 1:
            raise ConfigError(f"--methods names {method!r} {count} times: name each method once")


async def _search(
    problem: Problem, job: Job, settings: Settings, on_progress: Callable[[Progress], None]
) -> SearchResult:
    details = {
        "command": command_line(),
        "agenttts": version("agenttts"),
        "python": platform.python_version(),
        "planner": planned(job.searcher),
        "environment": problem.env,
        "data": problem.data or "",
        **({} if problem.calibration is None else {"throughput": problem.calibration.as_dict()}),
    }
    async with _workers(problem, settings):
        return await run(
            problem.environment,
            job.searcher,
            problem.space,
            settings.store,
            study_name=job.study,
            seed=job.seed,
            budgets=problem.budgets,
            limits=settings.limits,
            parallel=settings.parallel,
            racing=Racing() if settings.racing else None,
            choose=job.choose,
            details=details,
            on_progress=on_progress,
        )


def _workers(problem: Problem, settings: Settings) -> AbstractAsyncContextManager[Any]:
    """The Ray workers that the settings ask for."""
    if settings.ray is None:
        return nullcontext()
    from agenttts.environments.ray import RayWorkers

    return RayWorkers(
        problem.environment,
        settings.ray,
        store=settings.store,
        name=problem.env,
        data=problem.data,
        endpoints=problem.endpoints,
    )


def planned(searcher: Searcher) -> str:
    """The method, and for the agent who plans."""
    planner = getattr(searcher, "planner", None)
    return searcher.name if planner is None else f"{searcher.name}-{planner.name}"
