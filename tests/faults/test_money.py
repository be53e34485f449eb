"""Nothing that was paid for is lost, paid for twice, or charged to another.

| tried | must be |
|---|---|
| 4 processes extend one trial, 8 examples each, and count prefix caches | all of it is there |
| 4 processes add trials to a study of at most 10 | 10 trials, no error but LimitReached |
| 3 processes search one study with `--trials 6` | 6 trials |
| 3 searches of one study at once, with less `max_tokens` than one trial takes | one limit for all |
| gaps of one and of two samples among twenty | three samples are paid for |
| a draw of 0, given and by position | nothing is asked |
| two searches at once on one environment, one of which checks its winner | charged apart; namespaces apart |
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path

import pytest

import agenttts as at
from agenttts.db import Store
from agenttts.errors import LimitReached
from agenttts.execution.pool import SEARCH, VALIDATION, SamplePool, sample_key
from agenttts.llm.openai import OpenAIClient
from agenttts.llm.samples import Sample, Spend, StoredPrompt
from agenttts.pipeline import Model, Pipeline, Sampling, Subtask, SubtaskRun
from agenttts.pipeline.metrics import equal
from agenttts.searching import Limits
from agenttts.space import Allocation
from agenttts.study import Evaluation, ExampleResult, Proposal, StudySpec
from tests.endpoint import FakeEndpoint
from tests.faults.server import ONE, environment, prompt, space

SPEC = StudySpec(
    environment="e", pipeline="p", sizes={"s": {"m": 1.0}}, fingerprint="f", cost_model="flops", budget=1, pricing="",
    method="random", seed=0, examples=33,
)  # fmt: skip

_WRITER = """
import sys
from agenttts.db import Store
from agenttts.errors import LimitReached
from agenttts.space import Allocation
from agenttts.study import Evaluation, ExampleResult, Proposal
url, number = sys.argv[1], int(sys.argv[2])
store = Store(url)
study = store.study("one")
trial = store.archive(study).trials[0]
sys.stdin.readline()
for i in range(8):
    result = ExampleResult(example=f"{number}-{i}", score=0.5)
    store.extend_trial(study, trial, Evaluation(results=(result,)))
    store.add_cache_use(study, {"m": (10, 1)})
    allocation = Allocation({"s": ("m", 2 + 8 * number + i)})
    try:
        store.add_trial(study, Proposal(allocation), Evaluation(results=(result,)), cost=1, searcher="random", round=1,
                        at_most=10)
    except LimitReached:
        pass
"""


def test_several_processes_lose_nothing_and_keep_to_the_number_of_trials(any_url: str, any_store: Store) -> None:
    study = any_store.start("one", SPEC)
    first = Evaluation(results=(ExampleResult(example="first", score=1),))
    any_store.add_trial(study, Proposal(Allocation({"s": ("m", 1)})), first, cost=1, searcher="random", round=0)
    command = [sys.executable, "-c", _WRITER, any_url]
    children = [subprocess.Popen([*command, str(i)], stdin=subprocess.PIPE, text=True) for i in range(4)]
    for child in children:
        assert child.stdin is not None
        child.stdin.write("\n")
        child.stdin.flush()
    assert [child.wait(timeout=120) for child in children] == [0] * 4
    for child in children:
        assert child.stdin is not None
        child.stdin.close()
    trials = any_store.archive(study).trials
    assert [trial.number for trial in trials] == list(range(1, 11))
    examples = {result.example for result in trials[0].evaluation.results}
    assert examples == {"first", *(f"{n}-{i}" for n in range(4) for i in range(8))}
    assert len(trials[0].looks) == 33
    assert any_store.study("one").prefix_caches == {"m": (320, 32)}


_SEARCH = """
import asyncio, sys
import agenttts as at
from agenttts.searching import Limits
from tests.faults.server import environment, space
searched = environment(sys.argv[1], examples=4)
asyncio.run(at.search(searched, at.searcher("random", seed=int(sys.argv[3])), space(searched), sys.argv[2],
            study_name="one", seed=0, limits=Limits(trials=6), parallel=2))
"""


def test_trials_are_not_passed_by_several_searches(tmp_path: Path, endpoint: FakeEndpoint) -> None:
    path = str(tmp_path / "runs.db")
    endpoint.reply = lambda messages, seed: messages[-1]["content"].split()[-1]
    endpoint.delay_s = 0.05
    command = [sys.executable, "-c", _SEARCH, endpoint.url, path]
    children = [subprocess.Popen([*command, str(seed)], stderr=subprocess.PIPE, text=True) for seed in range(3)]
    for child in children:
        _, err = child.communicate(timeout=120)
        assert child.returncode == 0, err
    store = Store(path)
    trials = store.archive(store.study("one")).trials
    store.close()
    assert [trial.number for trial in trials] == list(range(1, 7))


async def test_a_limit_is_one_for_all_that_search_a_study(tmp_path: Path, endpoint: FakeEndpoint) -> None:
    endpoint.reply = lambda messages, seed: messages[-1]["content"].split()[-1]
    endpoint.delay_s = 0.05
    path = str(tmp_path / "runs.db")

    async def search(seed: int) -> None:
        searched = environment(endpoint.url, examples=40, client=OpenAIClient(max_in_flight=1))
        limits = Limits(trials=3, max_tokens=80)
        method = at.searcher("random", seed=seed)
        await at.search(searched, method, space(searched), path, study_name="one", seed=0, limits=limits, parallel=1)

    for outcome in await asyncio.gather(*map(search, range(3)), return_exceptions=True):
        assert outcome is None or isinstance(outcome, LimitReached), outcome
    store = Store(path)
    paid = store.spend(store.study("one")).tokens
    store.close()
    assert 80 <= paid < 2 * 80


@pytest.mark.parametrize("gaps", [{7}, {0}, {19}, {3, 7, 8}])
async def test_a_gap_pays_for_itself_alone(gaps: set[int], any_store: Store, endpoint: FakeEndpoint) -> None:
    model, sampling = Model("small", 1e6, base_url=endpoint.url), Sampling(max_tokens=8)
    key = sample_key(SEARCH, model, prompt(), sampling)
    kept = StoredPrompt(key, "small", SEARCH, prompt(), {}, 2)
    for position in set(range(20)) - gaps:
        any_store.samples.add(kept, position, [Sample(f"old{position}", 1)], spend=Spend(), study_id=None)
    client, pool = OpenAIClient(), SamplePool(any_store.samples)
    drawn = await pool.draw(client, model, prompt(), sampling, 20)
    await client.close()
    assert {i for i, sample in enumerate(drawn.samples) if not sample.text.startswith("old")} == gaps
    assert sum(asked.get("n", 1) for asked in endpoint.requests) == len(gaps)
    assert drawn.spend.completion_tokens == len(gaps)


async def test_a_draw_of_none_asks_nothing(endpoint: FakeEndpoint) -> None:
    async def nothing(run: SubtaskRun) -> str:
        assert await run.draw(prompt(), 0) == []
        return str(len(await run.draw(prompt(), 1)))

    model = Model("small", 1e6, base_url=endpoint.url)
    subtask = Subtask("answer", (model,), run=nothing)
    rows = [{"id": "1", "gold": "1"}]
    searched = at.LiveEnvironment(Pipeline("p", (subtask,), metric=equal("gold")), rows, client=OpenAIClient())
    async with searched:
        evaluation = await searched.evaluate(Allocation({"answer": ("small", 3)}))
    assert evaluation.score == 1 and len(endpoint.requests) == 1 and evaluation.usage["answer"].samples == 1


async def test_two_searches_on_one_environment_are_charged_apart(store: Store, endpoint: FakeEndpoint) -> None:
    endpoint.reply = lambda messages, seed: messages[-1]["content"].split()[-1]
    endpoint.delay_s = 0.01
    searched = environment(endpoint.url, examples=4, held_out=2, client=OpenAIClient())

    async def search(name: str, seed: int, trials: int) -> at.SearchResult:
        return await at.search(
            searched,
            at.searcher("random", seed=seed),
            space(searched),
            store,
            study_name=name,
            seed=seed,
            limits=Limits(trials=trials),
        )

    first, second = await asyncio.gather(search("first", 0, 1), search("second", 1, 6))
    everything = list(store.samples.everything())
    charged = first.spend.completion_tokens + second.spend.completion_tokens
    assert charged == sum(sample.completion_tokens for _, _, sample in everything)
    assert first.spend.requests + second.spend.requests == len(endpoint.requests)
    held_out = {"word4", "word5"}
    for kept, _, _ in everything:
        asked = kept.messages[-1]["content"].split()[-1]
        assert (kept.namespace == VALIDATION) == (asked in held_out), (kept.namespace, asked)
    assert ONE.key and {kept.namespace for kept, _, _ in everything} == {SEARCH, VALIDATION}
