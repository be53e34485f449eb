"""Running searches for the command line: from its options to the library's objects, with progress shown.

Everything that can be refused without a store is refused before one is opened, so that bad input leaves no file.
"""

from __future__ import annotations

import asyncio
import platform
import shlex
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, nullcontext
from dataclasses import dataclass, field
from importlib.metadata import version
from typing import Any, NamedTuple

import numpy as np

from agenttts.allocation import SearchSpace
from agenttts.chat import shown_url
from agenttts.cli.app import DEFAULT_STORE
from agenttts.cli.console import open_console, print_pair, print_wrapped
from agenttts.cli.progress import print_heading, show_progress
from agenttts.cost import cost_model
from agenttts.environments import environment
from agenttts.environments.serving import Serving
from agenttts.errors import ConfigError
from agenttts.frontier import require_budgets
from agenttts.loop import Limits, Progress, Recommend, SearchResult, recorded
from agenttts.loop import search as run
from agenttts.methods import may_ask_llm, method_names, searcher
from agenttts.pipeline import Pipeline
from agenttts.posterior import recommend
from agenttts.racing import Racing
from agenttts.report import Comparison, compare_runs, frontier_table, summary_lines
from agenttts.tracking import tracker
from agenttts.trial import Archive, Environment, Searcher

_DEFAULT_COST = "flops"


@dataclass(frozen=True, kw_only=True)
class Problem:
    """What is searched: an environment and the allocations that fit its budget."""

    env: str
    """The name that the environment was found by."""
    data: str | None = None
    """Where its examples are, for one that brings none."""
    endpoints: Mapping[str, str] = field(default_factory=dict)
    """Model -> URL, as given."""
    environment: Environment
    space: SearchSpace
    budgets: tuple[float, ...] = ()
    """Where there are several: all of them, ascending, that of the space last."""

    @classmethod
    def create(
        cls,
        env: str,
        *,
        budget: float | None,
        cost: str | None,
        budgets: str | None = None,
        data: str | None = None,
        endpoints: Sequence[str] = (),
        serving: Callable[[Pipeline], Serving] | None = None,
    ) -> Problem:
        """Find the environment and work out the space.

        Raises:
            ConfigError: On an unknown environment or cost model, or a budget that is missing or too small.
        """
        several = () if budgets is None else _parse_budgets(budgets)
        if several and budget is not None:
            raise ConfigError("--budget and --budgets exclude each other: give one of them")
        budget = several[-1] if several else budget
        urls = parse_endpoints(endpoints)
        found = environment(env, data=data, endpoints=urls, serving=serving)
        default = found.default_budget
        if budget is None and (default is None or cost not in (None, default.cost_model)):
            raise ConfigError(f"environment {found.name!r} has no default budget for this cost: give --budget")
        amount = budget if budget is not None else default.amount if default else 0.0
        name = cost or (default.cost_model if default else _DEFAULT_COST)
        space = SearchSpace(found.pipeline, cost_model(name), amount)
        return cls(env=env, data=data, endpoints=urls, environment=found, space=space, budgets=several)

    @property
    def budget_name(self) -> str:
        """The budget, or the budgets in short."""
        count = len(self.budgets)
        return f"{self.budgets[0]:g}to{self.budgets[-1]:g}x{count}" if count else f"{self.space.budget:g}"

    def heading(self, *more: tuple[str, str]) -> Iterator[tuple[str, str]]:
        """What a reader of the output needs to know of it, and more.

        It is worked out when it is printed: only then has the environment met the models, and knows what they are.
        """
        environment, space = self.environment, self.space
        held_out = f", {len(environment.held_out)} held out" if environment.held_out else ""
        label = f" ({recorded(environment)})" if recorded(environment) else ""
        size = f"{space.size:,} allocations cost at most {space.budget:g} {space.cost_model.unit} per query"
        if self.budgets:
            size += f"; budgets {', '.join(f'{budget:g}' for budget in self.budgets)}"
        yield "environment", f"{environment.name}: {len(environment.examples)} examples{held_out}{label}"
        if self.data is not None:
            yield "data", self.data
        yield "space", size
        yield from more


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
        study: str | None = None,
    ) -> Job:
        """Choose the method and name the study.

        Raises:
            ConfigError: On an unknown method or an option that does not fit it.
        """
        chosen = searcher(method, seed=seed, llm=llm, insights_off=insights_off, experience=experience)
        without = "".join(f"-no{number}" for number in sorted(insights_off))
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
        return shown_url(self.store) if "://" in self.store else self.store


def _parse_budgets(text: str) -> tuple[float, ...]:
    """Budgets as listed, or evenly spaced from start to stop."""
    try:
        if ":" not in text:
            found = tuple(float(part) for part in text.split(","))
        else:
            start, stop, count = text.split(":")
            found = tuple(np.linspace(float(start), float(stop), int(count)).tolist())
        if ":" in text and len(found) < 2:
            raise ValueError(f"a range of {len(found)}")
    except ValueError as error:
        raise ConfigError(
            f"--budgets takes numbers, as in 300,600,900, or start:stop:count with a count of at least 2, as in "
            f"300:900:3, not {text!r}"
        ) from error
    require_budgets(found, found[-1])
    return found


def parse_endpoints(given: Sequence[str]) -> dict[str, str]:
    """Model name -> URL, of texts MODEL=URL.

    Raises:
        ConfigError: On a text of another form, or a model that is named twice.
    """
    found: dict[str, str] = {}
    for text in given:
        model, _, url = text.partition("=")
        if not model or not url.startswith(("http://", "https://")):
            raise ConfigError(f"--endpoint takes MODEL=URL, as in m=http://localhost:8000/v1, not {shown_url(text)!r}")
        if model in found:
            raise ConfigError(f"--endpoint names the model {model!r} twice: give each one URL")
        found[model] = url
    return found


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
    problem: Problem, methods: Sequence[str], seeds: int, settings: Settings, *, llm: str | None, quiet: bool
) -> list[Comparison]:
    """Every method with every seed; each run is a study of its own that can be resumed.

    Raises:
        ConfigError: On no method, a method named twice or unknown, or fewer than one seed.
    """
    require_seeds(seeds)
    _require_distinct(methods)
    # Without any method that asks one, an LLM that was given must show as the mistake it is.
    asking = {method for method in methods if may_ask_llm(method)} or set(methods)
    rows: dict[str, list[Run]] = {}
    for method in methods:
        given = llm if method in asking else None
        jobs = [Job.create(problem, method, seed=seed, llm=given) for seed in range(seeds)]
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
        "command": shlex.join(["agenttts", *map(_without_secrets, sys.argv[1:])]),
        "agenttts": version("agenttts"),
        "python": platform.python_version(),
        "planner": planned(job.searcher),
        "environment": problem.env,
        "data": problem.data or "",
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


def _without_secrets(argument: str) -> str:
    """A command-line argument as it may be kept: of a URL, neither user nor query."""
    option, separator, value = argument.partition("=") if argument.startswith("--") else ("", "", argument)
    return f"{option}{separator}{shown_url(value)}" if "://" in value else argument
