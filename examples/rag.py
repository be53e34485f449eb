"""Retrieve a passage, then answer from it: which model should do which, and with how many samples?

The models are SIMULATED, no LLM runs; with `--smollm` a real one does, of 135M parameters on this CPU. For others, give
models with their server's `base_url` in place of those of `asked_models`.
"""

import asyncio
import random
import re
from typing import Any

from models import asked_models

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


def passage(text: str, given: at.SubtaskInput) -> list[int]:
    """The first number of a passage: a small model forgets the brackets."""
    if found := re.search(r"[1-5]", text):
        return [int(found[0])]
    raise at.ParseError("no number of a passage")


def town(text: str, given: at.SubtaskInput) -> str:
    """The last town that a reply names."""
    if named := re.findall("|".join(TOWNS), text):
        return str(named[-1])
    raise at.ParseError("no town")


def pipeline(models: tuple[at.Model, ...]) -> at.Pipeline:
    retrieve = at.Subtask(
        "retrieve", models,
        "{% for p in passages %}[{{ loop.index }}] {{ p }}\n{% endfor %}{{ question }}\nReply with a [number].",
        parser=passage, aggregator=at.aggregators.IdVote(), default=[1], sampling=at.Sampling(max_tokens=24),
        prompt_tokens=200, completion_tokens=8, max_samples=16,
    )  # fmt: skip
    answer = at.Subtask(
        "answer", models,
        "{% for i in retrieve %}{{ passages[i - 1] }}\n{% endfor %}{{ question }} End with 'Answer: ...'.",
        parser=town, aggregator=at.aggregators.MajorityVote(), default="", sampling=at.Sampling(max_tokens=24),
        prompt_tokens=60, completion_tokens=8, max_samples=16,
    )  # fmt: skip
    return at.Pipeline("rag", (retrieve, answer), metric=at.metrics.exact_match("town"))


with asked_models(reply) as asked:
    rag, rows = pipeline(asked.models), [example(number) for number in range(asked.rows)]
    seen = asked.rows * 2 // 5
    environment = at.LiveEnvironment(rag, rows[:seen], held_out=rows[seen:], serving=asked.serving)
    space = at.SearchSpace(rag, at.cost_model("flops"), asked.budget)
    agent = at.searcher("agent", llm="none")  # plans by rules
    limits = at.Limits(trials=asked.trials)
    result = asyncio.run(at.search(environment, agent, space, at.Store(), study_name="rag", limits=limits))

print(f"{result.study.details['recorded'] or 'a real model'}; {space.size} allocations fit the budget")
for trial in result.archive.trials:
    print(f"trial {trial.number}  score {trial.evaluation.score:.2f}  cost {trial.cost:10,.0f}  {trial.allocation}")
print(f"recommended: {result.best.allocation}")
assert result.validation is not None  # there is one wherever examples are held out
print(f"on {len(result.validation.results)} held-out examples: {result.validation.score:.2f}")
