"""Retrieve a passage, then answer from it: which model should do which, and with how many samples?

The models are SIMULATED, no LLM runs. For real ones, give their server's URL instead of that of `simulated_server`.
"""

import asyncio
import random
from typing import Any

from simulated_server import simulated_server

import agenttts as at

NAMES, TOWNS = ("Ann", "Bob", "Eve", "Joe", "Kim"), ("Bern", "Lima", "Oslo", "Riga", "Rome")


def example(number: int) -> dict[str, Any]:
    homes = dict(zip(NAMES, random.Random(number).sample(TOWNS, k=5), strict=True))
    passages = [f"{name}, guest {number}, lives in {town}." for name, town in homes.items()]
    who = NAMES[number % 5]
    return {"id": str(number), "question": f"Where does {who} live?", "passages": passages, "town": homes[who]}


def reply(model: str, prompt: str, luck: random.Random) -> str:
    """Retrieval fails in every sample alike, so that only a better model helps; an answer fails by chance."""
    finds, reads = {"8b": (0.55, 0.6), "70b": (0.95, 0.75)}[model]
    who = prompt.rpartition("Where does ")[2].split()[0]
    passages = [line for line in prompt.splitlines() if f"{who}, guest" in line]
    if "Reply with" in prompt:
        return passages[0][:3] if random.Random(model + prompt).random() < finds else "[1]"
    known = passages and luck.random() < reads
    return "Answer: " + (passages[0].split()[-1].strip(".") if known else luck.choice(TOWNS))


def pipeline(url: str) -> at.Pipeline:
    models = (at.Model("8b", 8e9, base_url=url), at.Model("70b", 70e9, base_url=url))
    retrieve = at.Subtask(
        "retrieve", models,
        "{% for p in passages %}[{{ loop.index }}] {{ p }}\n{% endfor %}{{ question }}\nReply with a [number].",
        parser=at.parsers.ids(among="passages"), aggregator=at.aggregators.IdVote(),
        prompt_tokens=200, completion_tokens=8, max_samples=16,
    )  # fmt: skip
    answer = at.Subtask(
        "answer", models,
        "{% for i in retrieve %}{{ passages[i - 1] }}\n{% endfor %}{{ question }} End with 'Answer: ...'.",
        parser=at.parsers.tagged("Answer:"), aggregator=at.aggregators.MajorityVote(),
        prompt_tokens=60, completion_tokens=8, max_samples=16,
    )  # fmt: skip
    return at.Pipeline("rag", (retrieve, answer), metric=at.metrics.exact_match("town"))


with simulated_server(["8b", "70b"], reply) as url:
    rag = pipeline(url)
    environment = at.LiveEnvironment(rag, map(example, range(40)), held_out=map(example, range(40, 100)))
    space = at.SearchSpace(rag, at.cost_model("flops"), 3.5e7)  # MFLOP per query: the large model fits once
    agent = at.searcher("agent", llm="none")  # plans by rules
    search = at.search(environment, agent, space, at.Store(), study_name="rag", limits=at.Limits(trials=8))
    result = asyncio.run(search)

print(f"{result.study.details['recorded']}; {space.size} allocations fit the budget")
for trial in result.archive.trials:
    print(f"trial {trial.number}  score {trial.evaluation.score:.2f}  cost {trial.cost:10,.0f}  {trial.allocation}")
print(f"recommended: {result.best.allocation}")
assert result.validation is not None  # there is one wherever examples are held out
print(f"on {len(result.validation.results)} held-out examples: {result.validation.score:.2f}")
