"""Running searches for the command line: from its options to the library's objects, with progress shown."""

from __future__ import annotations

import asyncio
import platform
import shlex
import sys
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

import typer
from rich.console import Console

from agenttts.allocation import SearchSpace
from agenttts.cli.progress import show_progress
from agenttts.cost import cost_model
from agenttts.db import Store, Study
from agenttts.environments import environment
from agenttts.environments.client import shown_url
from agenttts.errors import ConfigError
from agenttts.loop import Limits, SearchResult
from agenttts.loop import search as run
from agenttts.methods import searcher
from agenttts.racing import Racing
from agenttts.report import Comparison, compare_runs, summary_lines
from agenttts.report.rows import evaluation_row
from agenttts.surrogate import recommend
from agenttts.trial import Environment, Searcher

_DEFAULT_COST = "flops"


@dataclass
class Job:
    """An environment with its space and its store, and the method that is to search it."""

    environment: Environment
    space: SearchSpace
    store: Store
    searcher: Searcher | None = None
    seed: int = 0
    study: str = ""

    @classmethod
    def create(cls, env: str, *, budget: float | None, cost: str | None, store: str) -> Job:
        """Find the environment, work out the space, open the store.

        Raises:
            ConfigError: On an unknown environment or cost model, or a budget that is missing or too small.
        """
        found = environment(env)
        default = found.default_budget
        if budget is None and (default is None or cost not in (None, default.cost_model)):
            raise ConfigError(f"environment {found.name!r} has no default budget for this cost: give --budget")
        amount = budget if budget is not None else default.amount if default else 0.0
        name = cost or (default.cost_model if default else _DEFAULT_COST)
        return cls(found, SearchSpace(found.pipeline, cost_model(name), amount), Store(store))

    def plan(
        self,
        method: str,
        *,
        seed: int,
        llm: str | None,
        insights_off: frozenset[int] = frozenset(),
        study: str | None = None,
    ) -> None:
        """Choose the method and name the study.

        Raises:
            ConfigError: On an unknown method or an option that does not fit it.
        """
        self.seed = seed
        self.searcher = searcher(method, seed=seed, llm=llm, insights_off=insights_off)
        without = "".join(f"-no{number}" for number in sorted(insights_off))
        cost = f"{self.space.cost_model.name}{self.space.budget:g}"
        self.study = study or f"{self.environment.name}-{cost}-{planned(self.searcher)}{without}-s{seed}"


def run_search(job: Job, limits: Limits, *, parallel: int, racing: bool) -> None:
    """Search and print how it goes and how it ends."""
    console = _console()
    for line in _heading(job):
        console.print(line, markup=False, soft_wrap=True)
    result = _finished(_run(job, limits, parallel, racing, console))
    console.print()
    for line in summary_lines(result, job.space.cost_model.unit, job.space.budget):
        console.print(line, markup=False, soft_wrap=True)
    where = "" if job.store.location == "agenttts.db" else f" --store {shlex.quote(job.store.location)}"
    console.print(f"See why:  agenttts trace {result.study.name}{where}", markup=False, soft_wrap=True)
    console.print(f"Keep it:  agenttts best {result.study.name}{where} > allocation.yaml", markup=False, soft_wrap=True)


def run_comparison(
    job: Job,
    methods: Sequence[str],
    seeds: int,
    limits: Limits,
    *,
    parallel: int,
    racing: bool,
    llm: str | None,
    quiet: bool,
) -> list[Comparison]:
    """Every method with every seed; each run is a study of its own that can be resumed."""
    console = Console(stderr=True, quiet=quiet, highlight=False)
    for method in methods:
        searcher(method, llm=llm)  # an unknown method must show before the first run
    comparisons = []
    for method in methods:
        results = []
        for seed in range(seeds):
            job.plan(method, seed=seed, llm=llm)
            results.append(_finished(_run(job, limits, parallel, racing, None)))
            console.print(f"{job.study}: {results[-1].best.allocation}", markup=False, soft_wrap=True)
        comparisons.append(compare_runs(planned(_chosen(job)), results))
    return comparisons


def recommendation(store: Store, study: Study) -> dict[str, Any]:
    """The recommended allocation of a study as plain data.

    Raises:
        ConfigError: When the study has no finished trial.
    """
    archive = store.archive(study)
    if not archive.trials:
        raise ConfigError(f"study {study.name!r} has no finished trial yet")
    trial = recommend(study.spec.sizes, archive.trials)
    validation = store.validation(study, trial.allocation)
    return {
        "pipeline": study.spec.pipeline,
        "fingerprint": study.spec.fingerprint,
        "allocation": trial.allocation.as_dict(),
        "cost": {
            "per_query": trial.cost,
            "budget": study.spec.budget,
            "unit": cost_model(study.spec.cost_model).unit,
            "cost_model": study.spec.cost_model,
        },
        "searched": _scores(evaluation_row(trial.evaluation)),
        "held_out": None if validation is None else _scores(evaluation_row(validation)),
        "study": study.name,
        "trial": trial.number,
    }


def planned(searcher: Searcher) -> str:
    """The method, and for the agent who plans."""
    planner = getattr(searcher, "planner", None)
    return searcher.name if planner is None else f"{searcher.name}-{planner.name}"


def _scores(row: dict[str, Any]) -> dict[str, Any]:
    return {name: row[name] for name in ("score", "interval", "examples", "failures")}


async def _run(job: Job, limits: Limits, parallel: int, racing: bool, console: Console | None) -> SearchResult:
    chosen = _chosen(job)
    details = {
        "command": shlex.join(["agenttts", *map(_without_secrets, sys.argv[1:])]),
        "agenttts": version("agenttts"),
        "python": platform.python_version(),
        "planner": planned(chosen),
    }
    with show_progress(console, limits) as on_progress:
        return await run(
            job.environment,
            chosen,
            job.space,
            job.store,
            study_name=job.study,
            seed=job.seed,
            limits=limits,
            parallel=parallel,
            racing=Racing() if racing else None,
            details=details,
            on_progress=on_progress,
        )


def _heading(job: Job) -> list[str]:
    environment, space = job.environment, job.space
    held_out = f", {len(environment.held_out)} held out" if environment.held_out else ""
    method = planned(_chosen(job))
    if method == "agent-rules":
        method = "agent, planned by rules (no LLM: set OPENAI_API_KEY, or --llm MODEL with OPENAI_BASE_URL)"
    return [
        f"environment  {environment.name}: {len(environment.examples)} examples{held_out}",
        f"space        {space.size:,} allocations cost at most {space.budget:g} {space.cost_model.unit} per query",
        f"method       {method}",
        f"study        {job.study} in {job.store.location}",
    ]


def _finished(search: Coroutine[Any, Any, SearchResult]) -> SearchResult:
    """The search's result; an interrupt ends the command with a hint."""
    try:
        return asyncio.run(search)
    except KeyboardInterrupt:
        typer.echo("interrupted: run the same command again to go on", err=True)
        raise typer.Exit(130) from None


def _without_secrets(argument: str) -> str:
    """A command-line argument as it may be kept: of a URL, neither user nor query."""
    option, separator, value = argument.partition("=") if argument.startswith("--") else ("", "", argument)
    return f"{option}{separator}{shown_url(value)}" if "://" in value else argument


def _chosen(job: Job) -> Searcher:
    if job.searcher is None:
        raise ConfigError("no method was chosen")
    return job.searcher


def _console() -> Console:
    console = Console(highlight=False)
    return console if console.is_terminal else Console(highlight=False, width=10_000)
