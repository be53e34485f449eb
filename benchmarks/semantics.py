"""Does an LLM that reads what the stages do plan better than statistics? Problems whose stages speak of themselves.

    nice python benchmarks/semantics.py --seeds 2 --out benchmarks/results/semantics.md
    python benchmarks/semantics.py --llm MODEL [--llm-base-url URL]     asks a model, and records its replies

The problems have a known optimum: synthetic families, and the landscapes of the paper's six tasks, tables of what
simulated models scored (`landscapes.py`). No model runs. The prompt of each stage says which size of model it needs and
whether samples help it: the truth ("true"), the opposite ("false": adversarial), or nothing ("untold"). The truth is
read off a synthetic problem's formula; off a landscape by what the largest model in place of the smallest, and the most
samples in place of one, bring within the budget, all else equal. The agent is planned by rules, which do not read, and
by an LLM. Replies of a model that was really asked are kept, with its name and the date, in
`results/semantics_replies.json`, and replayed from there: the same command needs no endpoint again.

Without --llm, the planner is a SCRIPT, a few lines that look for words of the descriptions: it shows that
the benchmark runs and what a search costs in tokens, and says nothing of any LLM.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import json
import os
import re
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from statistics import mean
from typing import Any, NamedTuple

from landscapes import TASKS
from problems import Problem, problem
from repeated import command

import agenttts as at
from agenttts.agent import LLMPlanner
from agenttts.environments.synthetic import SyntheticEnvironment
from agenttts.llm.chat import Answer, ChatModel
from agenttts.llm.samples import Spend
from agenttts.llm.token_counts import completion_tokens_by_length, prompt_tokens_by_length

REPLIES = Path(__file__).parent / "results" / "semantics_replies.json"
TOLD = ("true", "false", "untold")
SCRIPTED = "scripted planner"
_LARGE, _SMALL = (
    "it takes several steps of reasoning, at which small models fail",
    "a look-up, for which a small model does",
)
_MANY, _FEW = "answers differ from sample to sample, and a vote settles them", "answers hardly differ between samples"
_SIZE_COUNTS, _SAMPLES_COUNT = 0.2, 0.12
"""Gain in quality of the largest model over the smallest, and of the most samples over one, from which they count."""
_TASK_COUNTS = 0.05
"""The same in the score of a task, either way."""
_MOST_TOKENS = 2**20


def described(family: str, seed: int, told: str) -> Problem:
    """A problem whose prompts say what its stages need, or the opposite of it, or nothing."""
    found = problem(family, seed)
    if told == "untold":
        return found
    environment = found.environment
    needs = _of_formula(environment) if isinstance(environment, SyntheticEnvironment) else _of_scores(found)
    stages = []
    for stage, (size, samples) in zip(environment.pipeline.subtasks, needs, strict=True):
        large, many = (size, samples) if told == "true" else (not size, not samples)
        stages.append(replace(stage, prompt=f"Here {_LARGE if large else _SMALL}; {_MANY if many else _FEW}."))
    environment.name = f"{environment.name}-{told}"
    environment.pipeline = replace(environment.pipeline, subtasks=tuple(stages))
    space = at.SearchSpace(environment.pipeline, found.space.cost_model, found.space.budget)
    return replace(found, space=space)


def _of_formula(environment: SyntheticEnvironment) -> Iterator[tuple[bool, bool]]:
    """For each stage whether size counts for its quality, and whether samples do."""
    most = environment.family.counts[-1]
    for stage in environment._stages:
        lifted = stage.lift * (1 - stage.skill.mean()) * (1 - most**-stage.rate)
        yield bool(stage.skill[-1] - stage.skill[0] > _SIZE_COUNTS), bool(lifted > _SAMPLES_COUNT)


def _of_scores(found: Problem) -> Iterator[tuple[bool, bool]]:
    """The same, of what the task scores."""
    for stage in found.space.pipeline.subtasks:
        models = sorted(stage.models, key=lambda model: model.parameters or 0)
        counts = sorted(stage.sample_counts or ())
        size = _gained(found, stage.name, "model", models[0].name, models[-1].name)
        samples = _gained(found, stage.name, "samples", counts[0], counts[-1])
        yield size > _TASK_COUNTS, samples > _TASK_COUNTS


def _gained(found: Problem, stage: str, what: str, least: str | int, most: str | int) -> float:
    """What the most of it brings, in the mean over the allocations with the least that fit the budget both ways."""
    gains = []
    for allocation in found.space.enumerate():
        choice = allocation[stage]
        if getattr(choice, what) == least:
            changed = at.Allocation({**allocation, stage: replace(choice, **{what: most})})
            if changed in found.space:
                gains.append(found.true_score(changed) - found.true_score(allocation))
    return mean(gains)


class RecordedModel(ChatModel):
    """A chat model whose replies are kept, and given again to the same prompt; the script asks nobody."""

    def __init__(self, name: str, base_url: str | None) -> None:
        super().__init__(name, base_url=base_url or ("http://localhost:9/v1" if name == SCRIPTED else None))
        self.kept: dict[str, dict[str, str]] = json.loads(REPLIES.read_text()) if REPLIES.exists() else {}

    async def check(self) -> None:
        """Nothing: what is replayed needs no endpoint."""

    async def ask(self, prompt: str, *, system: str, schema: dict[str, Any] | None = None) -> Answer:
        """See `ChatModel.ask`."""
        if self.name == SCRIPTED:
            return self._answer(prompt, system, scripted(prompt))
        key = hashlib.sha256(json.dumps([self.name, system, prompt]).encode()).hexdigest()
        if key in self.kept:
            return self._answer(prompt, system, self.kept[key]["reply"])
        answer = await super().ask(prompt, system=system, schema=schema)
        self.kept[key] = {"model": self.name, "asked": f"{datetime.now(UTC):%Y-%m-%d}", "reply": answer.text}
        REPLIES.write_text(json.dumps(self.kept, indent=1, ensure_ascii=False) + "\n")
        return answer

    def _answer(self, prompt: str, system: str, reply: str) -> Answer:
        messages = [{"role": "system", "content": system}, {"role": "user", "content": prompt}]
        tokens = completion_tokens_by_length(reply, _MOST_TOKENS, cut=False)
        return Answer(
            reply, Spend(requests=1, prompt_tokens=prompt_tokens_by_length(messages), completion_tokens=tokens)
        )


def scripted(prompt: str) -> str:
    """The script: of what is listed by number, what fits the words of the descriptions best."""
    if "Reply with JSON" not in prompt:
        return "Stages got the models and samples with which the trials scored best, as far as the posterior is sure."
    wanted = int(re.findall(r"Propose (\d+)", prompt)[0])
    told = re.findall(r"^- \w+: (.*)$", prompt.partition("How the prompts")[2].partition("\n\n")[0], re.M)
    rows = [line.split(". ", 1)[1].split(" | ") for line in prompt.splitlines() if re.match(r"\d+\. ", line)]
    order = sorted(range(len(rows)), key=lambda place: -sum(map(_fit, told, rows[place])))
    picks = [{"rationale": "it fits what the stages say", "number": place + 1} for place in order[:wanted]]
    return json.dumps({"notes": "Sizes and samples as the stages' descriptions have it.", "candidates": picks})


def _fit(told: str, choice: str) -> float:
    size, samples = map(int, re.findall(r"(\d+)B? x(\d+)", choice)[0])  # "m4 x16", "Llama-3.2-3B x16"
    return size**0.5 * ((_LARGE in told) - (_SMALL in told)) + samples**0.5 * ((_MANY in told) - (_FEW in told))


class Run(NamedTuple):
    """One search."""

    first: float
    """Regret of the best of the first eight trials."""
    regret: float
    """Of what is recommended."""
    calls: int
    most: int
    """Prompt tokens of the longest call."""
    tokens: int


async def run(family: str, seed: int, told: str, trials: int, llm: ChatModel | None) -> Run:
    """One search; by rules where there is no LLM."""
    posed = described(family, seed, told)
    agent = at.searcher("agent", llm="none", seed=seed)
    if llm is not None:
        planner = LLMPlanner(llm.name, base_url=llm.endpoint)
        planner.model = llm
        agent = at.AgentSearcher(planner, seed=seed)
    store = at.Store()
    result = await at.search(posed.environment, agent, posed.space, store, study_name="s", seed=seed,
                             limits=at.Limits(trials=trials), parallel=2, racing=at.Racing())  # fmt: skip
    asked = [step.spend for step in store.steps(result.study) if step.spend.requests]
    return Run(
        first=min(posed.regret(trial.allocation) for trial in result.archive.trials[:8]),
        regret=posed.regret(result.best.allocation),
        calls=len(asked),
        most=max((spend.prompt_tokens for spend in asked), default=0),
        tokens=result.own.tokens,
    )


def rows(families: list[str], seeds: int, trials: int, llm: ChatModel) -> Iterator[list[str]]:
    """The table, a line at a time."""
    for family in families:
        for name, told, asked in (("rules", "untold", None), *((llm.name, told, llm) for told in TOLD)):
            found = [asyncio.run(run(family, seed, told, trials, asked)) for seed in range(seeds)]
            columns = [mean(column) for column in zip(*found, strict=True)]
            yield [
                family,
                name,
                told,
                f"{columns[0]:.3f}",
                f"{columns[1]:.3f}",
                f"{columns[2]:.1f}",
                f"{max(each.most for each in found):,}",
                f"{columns[4]:,.0f}",
            ]


def head(given: argparse.Namespace) -> str:
    """What the table is of."""
    problems = (
        f"{len(given.families)} families, {given.seeds} problems of each, {given.trials} trials, 2 at once, racing"
    )
    planner = (
        "**No LLM was asked.** The planner is a script. What it scores says nothing of any LLM, and so few problems "
        "say little of anything. What holds for every planner is the last columns: how much it is asked, by the "
        "length of the texts (three characters a token)."
        if given.llm == SCRIPTED
        else f"Asked was {given.llm}."
    )
    about = (__doc__ or "").split("\n\n")[2]
    return (
        f"# An LLM on problems whose stages speak of themselves\n\n`{command()}`: {problems}\n\n{about}\n\n{planner}\n"
    )


def main() -> None:
    """Run, print the table, and write it with what it is of where `--out` says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3, help="problems of each family")
    parser.add_argument("--trials", type=int, default=24)
    parser.add_argument("--families", nargs="+", default=["table", "two-stage", "stage-metrics", *TASKS])
    parser.add_argument("--llm", default=SCRIPTED)
    parser.add_argument("--llm-base-url")
    parser.add_argument("--out", type=Path, help="write this Markdown file")
    given = parser.parse_args()
    columns = ["family", "planner", "told", "regret of the first 8", "regret", "calls"]
    columns += ["prompt tokens, at most", "tokens a search"]
    lines = [head(given), f"| {' | '.join(columns)} |", "|---" * len(columns) + "|"]
    print("\n".join(lines))
    for row in rows(given.families, given.seeds, given.trials, RecordedModel(given.llm, given.llm_base_url)):
        lines.append(f"| {' | '.join(row)} |")
        print(lines[-1], flush=True)
    cpu, load = time.process_time(), os.getloadavg()[2]
    lines.append(
        f"\n{cpu:.0f} s of CPU; load of the machine, {os.cpu_count()} cores, in the last 15 minutes: {load:.1f}."
    )
    print(lines[-1])
    if given.out:
        given.out.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
