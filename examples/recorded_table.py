"""Search scores that you already have: which allocation does each budget pay for?

The table, `scores.csv`, is SYNTHETIC (`make_scores.py` prints it). No model runs. Yours may have other columns beside
those used here: `retrieve.model`, `retrieve.samples`, `answer.model`, `answer.samples`, `example`, `score`, `held_out`.
"""

import asyncio
from pathlib import Path

import agenttts as at

BUDGETS = (30, 100, 450, 900)  # in the unit of the paper

models = (at.Model("3B", 3e9), at.Model("8B", 8e9), at.Model("70B", 70e9))
stages = (  # the prompts are not used; the token lengths price the allocations
    at.Subtask("retrieve", models, "recorded", prompt_tokens=1024, completion_tokens=64),
    at.Subtask("answer", models, "recorded", prompt_tokens=256, completion_tokens=64),
)
pipeline = at.Pipeline("rag", stages, metric=at.metrics.equal("answer"))
environment = at.RecordedEnvironment(pipeline, Path(__file__).with_name("scores.csv"))
space = at.SearchSpace(environment.pipeline, at.cost_model("paper"), BUDGETS[-1])

agent = at.searcher("agent", llm="none")  # plans by rules
store = at.Store()  # in memory; at.Store("scores.db") keeps the study
search = at.search(environment, agent, space, store, study_name="scores", budgets=BUDGETS, limits=at.Limits(trials=14))
result = asyncio.run(search)

print(f"synthetic table; {environment.recorded}")
print(f"{space.size} allocations fit a budget of {space.budget:g}; {len(result.archive.trials)} were tried")
print(f"recommended: {result.best.allocation}\n")
assert result.frontier is not None  # there is one where a search has several budgets
print("budget    cost  expected score     held-out  allocation")
for point in result.frontier.points:
    low, high = point.expected.interval
    expected = f"{point.expected.score:.2f} ({low:.2f} to {high:.2f})"
    held_out = f"{point.check.score:.2f}" if point.check else "-"
    print(f"{point.budget:6g}  {point.trial.cost:6.1f}  {expected:18}  {held_out:>6}  {point.trial.allocation}")
