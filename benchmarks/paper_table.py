"""The paper's table 1 on SIMULATED models: every method on one task, its test score and when it found the optimum.

    python benchmarks/paper_table.py hotpotqa --data hotpot_dev_distractor_v1.json [--seeds 3] [--llm MODEL]

No LLM answers: the models are those of `agenttts.simulation`, calibrated to what the paper published, asked in process.
The table says how methods search such a landscape, and nothing of a real model.

Each method has the paper's budget and 50 trials (`--trials`) on the searched examples; what it recommends is checked on
the held-out ones with fresh samples. `agent` runs as `agenttts search` does, with racing, recommending by posterior
mean; the others as in the paper: every trial sees every example, and the best observed mean is recommended.

The optimum, like the paper's ("the best of a prior grid search"), is the best of a coarse grid on the searched
examples: every model of every stage with each of `--levels` samples, within the budget. A search has found it with the
first trial whose mean on all searched examples is as good; searches and grid draw from one pool of samples.

Methods that ask an LLM (agenttts-paper, llm-zs, agenthpo, mlcopilot) run if there is one to ask, by `--llm` or
OPENAI_API_KEY, and are left out of the table otherwise, which says so: an LLM cannot be simulated honestly. MLCopilot
also needs the history of a similar task: `--similar TASK=PATH`, on which random search gets it.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import shlex
import statistics
import sys
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

import agenttts as at
from agenttts.db import Store
from agenttts.environments import LiveEnvironment, environment
from agenttts.errors import AgentTTSError, ConfigError
from agenttts.posterior.insights import recommend
from agenttts.posterior.surrogate import Sizes
from agenttts.report.findings.comparison import mean_over_seeds
from agenttts.searching.methods import method as kind_of
from agenttts.searching.progress import Limits, SearchResult
from agenttts.searching.racing import Racing
from agenttts.simulation import ANSWERERS, SimulatedClient, Simulation, SimulationServer
from agenttts.study.trial import Trial

METHODS = ("agent", "random", "tpe", "gp", "agenttts-paper", "llm-zs", "agenthpo", "mlcopilot")
TRIALS = 50
AT_ONCE = 10
"""Trials proposed at once, as the authors' batches."""
LEVELS = {"taskbench": (1, 5, 10, 20), "chatdev": (1, 20)}
_QA_LEVELS = (1, 2, 5, 10, 20, 50)

TASKS = ("2wikimultihopqa", "hotpotqa", "cwq", "webqsp", "taskbench", "chatdev")
_PAPER = {  # (hours to the best trial, or none; test score) for each of TASKS
    "Random": ("-/.66", "-/.71", "-/.76", "-/.86", "-/.40", "-/.74"),
    "BO": ("-/.60", "-/.71", "-/.76", "-/.85", "-/.52", "-/.75"),
    "LLM_ZS": ("12.5/.70", "-/.71", "55.3/.76", "37.7/.89", "-/.49", "-/.74"),
    "MLCopilot": ("12.5/.70", "46.3/.72", "48.4/.78", "20.8/.88", "-/.53", "-/.75"),
    "AgentHPO": ("8.3/.70", "36.3/.74", "37.4/.78", "48.1/.89", "-/.49", "-/.74"),
    "AgentTTS": ("2.5/.72", "17.5/.74", "11.1/.78", "7.8/.89", "64.3/.53", "14.3/.75"),
}
_ROW = {
    "agent": "AgentTTS",
    "agenttts-paper": "AgentTTS",
    "random": "Random",
    "tpe": "BO",
    "gp": "BO",
    "llm-zs": "LLM_ZS",
    "agenthpo": "AgentHPO",
    "mlcopilot": "MLCopilot",
}


@dataclass(frozen=True)
class Run:
    """One search."""

    found: int | None
    """Number of the first trial that is as good as the optimum."""
    searched: float
    """Score of the recommended allocation on the searched examples."""
    test: float
    """... on those held out, with fresh samples."""
    allocation: at.Allocation


class Bench:
    """One task on simulated models, with one sample pool for all searches and the grid."""

    def __init__(
        self, task: str, data: str, *, trials: int = TRIALS, http: bool = False, store: Store | None = None
    ) -> None:
        found = environment(task, data=data)
        assert isinstance(found, LiveEnvironment) and found.default_budget is not None
        self.server = SimulationServer(Simulation(task, data)) if http else None
        if self.server is None:
            found.client = SimulatedClient(Simulation(task, data))
        else:
            asked = [*found.pipeline.models, *([found.embedder] if found.embedder else [])]
            found.route({model.name: self.server.url for model in asked})
        if not found.held_out:  # too few for the paper's split
            names, half = found.examples, len(found.examples) // 2
            found.examples, found.held_out = names[:half], names[half:]
        budget = found.default_budget
        self.environment, self.store, self.trials = found, store or Store(), trials
        self.space = at.SearchSpace(found.pipeline, at.cost_model(budget.cost_model), budget.amount)

    async def optimum(self, levels: Sequence[int]) -> tuple[float, at.Allocation, int]:
        """The best score of the grid on the searched examples, its allocation, and the size of the grid."""
        grid = sorted(self.space.on_levels(levels), key=lambda each: -sum(choice.samples for choice in each.values()))
        async with self.environment:
            scored = [(await self._score(each), -self.space.cost(each), each) for each in grid]
        score, _, best = max(scored, key=lambda each: each[:2])
        return score, best, len(grid)

    async def search(self, method: str, seed: int, *, llm: str | None, similar: str = "") -> SearchResult:
        """One search as the method runs."""
        plain = method != "agent"
        return await at.search(
            self.environment,
            searcher(method, seed, llm=llm),
            self.space,
            self.store,
            study_name=f"{self.environment.name}-{method}-{seed}",
            seed=seed,
            limits=Limits(trials=self.trials),
            parallel=AT_ONCE if plain else 1,
            racing=None if plain else Racing(),
            experience=[similar] if method == "mlcopilot" else [],
            choose=_luckiest if plain else recommend,
        )

    async def judged(self, result: SearchResult, optimum: float) -> Run:
        """What a search found, and when."""
        assert result.validation is not None
        scores = [await self._full_score(trial) for trial in result.archive.trials]
        found = (number for number, score in enumerate(scores, start=1) if score > optimum - 1e-9)
        best = result.best
        return Run(next(found, None), await self._full_score(best), result.validation.score, best.allocation)

    async def _full_score(self, trial: Trial) -> float:
        """Its mean on all searched examples, also where the race stopped short of them."""
        if len(trial.evaluation.results) == len(self.environment.examples):
            return trial.evaluation.score
        return await self._score(trial.allocation)

    async def _score(self, allocation: at.Allocation) -> float:
        return (await self.environment.evaluate(allocation)).score


def _luckiest(_: Sizes, trials: Sequence[Trial]) -> Trial:
    return max(trials, key=lambda trial: (trial.evaluation.score, -trial.cost))


def searcher(method: str, seed: int, *, llm: str | None) -> at.Searcher:
    """The searcher that a method runs with.

    Raises:
        ConfigError: When what it needs is not installed.
    """
    asked = llm if kind_of(method).needs_llm else "none" if method == "agent" else None
    return at.searcher(method, seed=seed, llm=asked)


def chosen_methods(given: Sequence[str], *, llm: str | None, experience: bool) -> tuple[list[str], list[str]]:
    """The methods that can run, and those that are left out."""
    asks = bool(llm or os.environ.get("OPENAI_API_KEY"))
    out = [m for m in given if kind_of(m).needs_llm and (not asks or (m == "mlcopilot" and not experience))]
    return [method for method in given if method not in out], out


def row(task: str, method: str, runs: Sequence[Run]) -> str:
    """One line of the table."""
    test = mean_over_seeds([run.test for run in runs], least=0, most=1)
    spread = "" if test.interval is None else f" ({test.interval.low:.3f} to {test.interval.high:.3f})"
    found = [run.found for run in runs if run.found is not None]
    reached = f"{statistics.median(found):g} ({len(found)} of {len(runs)})" if found else f"- (0 of {len(runs)})"
    hours, score = _PAPER[_ROW[method]][TASKS.index(task)].split("/")
    searched = statistics.mean(run.searched for run in runs)
    return f"| {method} | {test.value:.3f}{spread} | {searched:.3f} | {reached} | {_ROW[method]} | {score} | {hours} |"


async def table(arguments: argparse.Namespace, command: str) -> list[str]:
    """The lines of the table, in Markdown."""
    bench = Bench(arguments.task, arguments.data, trials=arguments.trials, http=arguments.http)
    with bench.server or nullcontext():
        return await _table(bench, arguments, command)


async def _table(bench: Bench, arguments: argparse.Namespace, command: str) -> list[str]:
    task = arguments.task
    found = await similar(arguments.similar, bench.store) if arguments.similar else ""
    methods, out = chosen_methods(arguments.methods, llm=arguments.llm, experience=bool(found))
    others = [method for method in METHODS if method not in arguments.methods]
    for method in methods:  # what is not installed is told before an hour of searching, not after
        searcher(method, 0, llm=arguments.llm)
    optimum, best, size = await bench.optimum(arguments.levels or LEVELS.get(task, _QA_LEVELS))
    print(f"optimum {optimum:.3f} of {size}: {best}", file=sys.stderr)
    lines = []
    for method in methods:
        runs = []
        for seed in range(arguments.seeds):
            result = await bench.search(method, seed, llm=arguments.llm, similar=found)
            runs.append(await bench.judged(result, optimum))
            print(f"{method}, seed {seed}: {runs[-1]}", file=sys.stderr)
        lines.append(row(task, method, runs))
    searched, held_out = len(bench.environment.examples), len(bench.environment.held_out)
    return [
        f"# {task}: the paper's table 1 on simulated models",
        "",
        "**No LLM answered the task.** The models are simulated, and calibrated to figures of the paper; the scores "
        "say how methods search such a landscape, not what any model or method scores in reality.",
        "",
        f"`{command}`",
        "",
        f"Data: {arguments.about or Path(arguments.data).name}; {searched} searched, {held_out} held out. Budget "
        f"{bench.space.budget:g} in the paper's unit, {bench.space.size:,} allocations, {arguments.trials} trials, "
        f"{arguments.seeds} seeds of the methods (one set of simulated samples).",
        "",
        f"Optimum: {optimum:.3f} on the searched examples, the best of a grid of {size} ({best}). It is found by "
        "the first trial that is as good there; in parentheses behind a score: 95 % interval over seeds.",
        "",
        "| method | test score, simulated | searched | trial that found the optimum (median; seeds) | paper's row "
        "| paper's test score | paper's hours to its best |",
        "|---|---|---|---|---|---|---|",
        *lines,
        "",
        *([f"Left out, as they ask an LLM and none was given: {', '.join(out)}."] if out else []),
        *([f"Not asked for with --methods: {', '.join(others)}."] if others else []),
    ]


async def similar(given: str, store: Store) -> str:
    """The study of random search on another task, in this store."""
    task, _, data = given.partition("=")
    if task not in ANSWERERS or not data:
        raise ConfigError(f"--similar takes TASK=PATH, with a task of {', '.join(TASKS)}, not {given!r}")
    return (await Bench(task, data, store=store).search("random", 0, llm=None)).study.name


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("task", choices=TASKS)
    parser.add_argument("--data", required=True, help="as for `agenttts search`")
    parser.add_argument("--about", default="", help="what the data are, for the heading")
    parser.add_argument("--seeds", type=int, default=3, help="searches per method")
    parser.add_argument("--trials", type=int, default=TRIALS, help="trials per search")
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=METHODS)
    parser.add_argument("--levels", nargs="+", type=int, help="numbers of samples of the grid")
    parser.add_argument("--llm", help="search LLM of the methods that ask one, at OPENAI_BASE_URL")
    parser.add_argument("--similar", help="TASK=PATH: where MLCopilot's experience comes from")
    parser.add_argument("--http", action="store_true", help="ask the models over HTTP, as real ones would be")
    arguments = parser.parse_args()
    shown = [Path(part).name if "/" in part and "=" not in part else part for part in sys.argv[1:]]
    command = shlex.join(["python", "benchmarks/paper_table.py", *_without_about(shown)])
    try:
        print("\n".join(asyncio.run(table(arguments, command))))
    except AgentTTSError as error:
        parser.error(str(error))


def _without_about(words: Sequence[str]) -> list[str]:
    """The command without the words for its heading."""
    place = words.index("--about") if "--about" in words else len(words)
    return [*words[:place], *words[place + 2 :]]


if __name__ == "__main__":
    main()
