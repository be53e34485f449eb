"""Does an LLM that reads what the stages do plan better than statistics? Problems whose stages speak of themselves.

    python benchmarks/semantics.py [--seeds 3] [--trials 24] [--families table,two-stage]
    python benchmarks/semantics.py --llm MODEL [--llm-base-url URL]     asks a model, and records its replies

The problems are synthetic, with a known optimum. The prompt of each stage says which size of model it needs and whether
samples help it: the truth ("true"), the opposite ("false": adversarial), or nothing ("untold"). The agent is planned by
rules, which do not read, and by an LLM. Replies of a model that was really asked are kept, with its name and the date,
in `results/semantics_replies.json`, and replayed from there: the same command needs no endpoint again.

Without --llm, the planner is a SCRIPT, a few lines that look for words of the descriptions: it shows that
the benchmark runs and what a search costs in tokens, and says nothing of any LLM.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import json
import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from statistics import mean
from typing import Any, NamedTuple

import agenttts as at
from agenttts.agent import LLMPlanner
from agenttts.environments.synthetic import FAMILIES, SyntheticEnvironment
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
"""Gain of the largest model over the smallest, and of the most samples over one, from which on they count."""
_MOST_TOKENS = 2**20


class Described(SyntheticEnvironment):
    """A synthetic problem whose prompts say what its stages need, or the opposite of it, or nothing."""

    def __init__(self, family: str, seed: int, told: str) -> None:
        super().__init__(FAMILIES[family], seed)
        self.name = f"{self.name}-{told}"
        said = [self._said(i, told) for i in range(len(self.pipeline.subtasks))]
        stages = [replace(stage, prompt=text) for stage, text in zip(self.pipeline.subtasks, said, strict=True)]
        self.pipeline = replace(self.pipeline, subtasks=tuple(stages))

    def _said(self, index: int, told: str) -> str:
        if told == "untold":
            return "synthetic"
        stage = self._stages[index]
        most = self.family.counts[-1]
        size = bool(stage.skill[-1] - stage.skill[0] > _SIZE_COUNTS)
        samples = bool(stage.lift * (1 - stage.skill.mean()) * (1 - most**-stage.rate) > _SAMPLES_COUNT)
        if told == "false":
            size, samples = not size, not samples
        return f"Here {_LARGE if size else _SMALL}; {_MANY if samples else _FEW}."


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
    size, samples = map(int, re.findall(r"m(\d+) x(\d+)", choice)[0])
    return size * ((_LARGE in told) - (_SMALL in told)) + samples**0.5 * ((_MANY in told) - (_FEW in told))


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
    problem = Described(family, seed, told)
    budget = problem.default_budget
    space = at.SearchSpace(problem.pipeline, at.cost_model(budget.cost_model), budget.amount)
    agent = at.searcher("agent", llm="none", seed=seed)
    if llm is not None:
        planner = LLMPlanner(llm.name, base_url=llm.endpoint)
        planner.model = llm
        agent = at.AgentSearcher(planner, seed=seed)
    store = at.Store()
    result = await at.search(problem, agent, space, store, study_name="s", seed=seed, limits=at.Limits(trials=trials),
                             parallel=2, racing=at.Racing())  # fmt: skip
    asked = [step.spend for step in store.steps(result.study) if step.spend.requests]
    optimum = problem.optimum(space)
    first = max(problem.true_score(trial.allocation) for trial in result.archive.trials[:8])
    return Run(
        first=optimum - first,
        regret=optimum - problem.true_score(result.best.allocation),
        calls=len(asked),
        most=max((spend.prompt_tokens for spend in asked), default=0),
        tokens=result.own.tokens,
    )


def rows(families: list[str], seeds: int, trials: int, llm: ChatModel) -> Iterator[str]:
    """The table, a line at a time."""
    yield "family | planner | told | regret of the first 8 | regret | calls | prompt tokens, at most | tokens a search"
    for family in families:
        for name, told, asked in (("rules", "untold", None), *((llm.name, told, llm) for told in TOLD)):
            found = [asyncio.run(run(family, seed, told, trials, asked)) for seed in range(seeds)]
            columns = [mean(column) for column in zip(*found, strict=True)]
            yield (
                f"{family} | {name} | {told} | {columns[0]:.3f} | {columns[1]:.3f} | {columns[2]:.1f} | "
                f"{max(each.most for each in found):,} | {columns[4]:,.0f}"
            )


def main() -> None:
    """Run, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--trials", type=int, default=24)
    parser.add_argument("--families", default="table,two-stage,stage-metrics")
    parser.add_argument("--llm", default=SCRIPTED)
    parser.add_argument("--llm-base-url")
    given = parser.parse_args()
    llm = RecordedModel(given.llm, given.llm_base_url)
    for line in rows(given.families.split(","), given.seeds, given.trials, llm):
        print(line, flush=True)


if __name__ == "__main__":
    main()
