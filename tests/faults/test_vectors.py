"""A server of embeddings or rewards is believed no more than one of completions.

| tried, on one text among others | must be |
|---|---|
| HTML, an error alone and beside data, no data, cut JSON, 204, 401, 429, 503, a cut connection: once | as without |
| one that is empty, null, a text, NaN, infinite, huge, of other kinds, shorter, longer: once | as without |
| a reward that is null, a text, true, NaN, infinite, huge, missing: once | as without |
| each of them for ever, and a byte now and then, or nothing | missing, with its reason; the others as without |
| a reward that is no probability | a sentence, and none of it kept |
| embeddings that a study has kept, and longer ones now | a sentence, no score |
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from agenttts.db import Store
from agenttts.environments import LiveEnvironment
from agenttts.errors import ConfigError
from agenttts.execution.pool import SamplePool
from agenttts.llm.openai import OpenAIClient
from agenttts.pipeline import Model, Pipeline, Subtask, SubtaskRun
from agenttts.pipeline.metrics import equal
from agenttts.study.evaluation import Evaluation
from tests.faults.server import ONE, Answer, RawServer, http, prompt

DRIP = b"DRIP"
_WORDS = ("word0", "word1", "word2")
_USAGE = {"prompt_tokens": 2, "total_tokens": 2}


def _body(kind: str, value: str) -> str:
    """An answer that holds this, which may be no JSON."""
    return f'{{"data": [{{"index": 0, "{kind}": {value}}}], "usage": {json.dumps(_USAGE)}}}'


_NEITHER: dict[str, Answer | None] = {
    "html": http("<html>busy</html>", kind="text/html"),
    "an error": {"error": {"message": "overloaded", "code": 500}},
    "no data": {"data": []},
    "data null": {"data": None},
    "a list": http("[]"),
    "204": http(b"", status="204 No Content"),
    "cut": http('{"data": [{"embedding": [1'),
    "closed": b"",
    **{f"{status}": http("{}", status=f"{status} No") for status in (401, 429, 503)},
}
_NO_EMBEDDING: dict[str, Answer | None] = {
    "an error beside it": http('{"error": {"message": "upstream"}, ' + _body("embedding", "[9, 9]")[1:]),
    **{
        name: http(_body("embedding", value))
        for name, value in {
            "empty": "[]", "null": "null", "a text": '"4711"', "NaN": "[NaN, 1]",
            "infinite": "[1, 1e999]", "huge": "[1e300, 1]", "texts": '["1", "2"]',
            "truths": "[true, false]", "shorter": "[1]", "longer": "[1, 2, 3]",
        }.items()
    },
}  # fmt: skip
_NO_REWARD: dict[str, Answer | None] = {
    "an error beside it": http('{"error": {"message": "upstream"}, ' + _body("data", "[[0.9]]")[1:]),
    **{
        name: http(_body("data", value))
        for name, value in {
            "empty": "[]", "an empty row": "[[]]", "null": "null", "of null": "[null]", "a text": '"0.5"',
            "texts": '["0.5"]',
            "a truth": "[true]", "NaN": "[[NaN]]", "infinite": "[Infinity]", "huge": "[1e300]",
        }.items()
    },
}  # fmt: skip
_EMBEDDING = {**_NEITHER, **_NO_EMBEDDING}
_REWARD = {**_NEITHER, **_NO_REWARD}


class _Vectors:
    """Gives every text what it is worth, but for one text, which it answers badly so many times."""

    def __init__(self, bad: Answer | None, times: int) -> None:
        self._bad, self._left = bad, times

    def __call__(self, asked: dict[str, Any], number: int) -> Answer | None:
        text = asked["input"] if "input" in asked else asked["messages"][-1]["content"]
        if text == "word1" and self._left:
            self._left -= 1
            return self._bad
        kind, value = ("embedding", [0.5, len(text)]) if "input" in asked else ("data", [[0.2], [0.25]])
        return http(_body(kind, json.dumps(value)))


async def _embedded(run: SubtaskRun) -> str:
    return str(tuple(await run.embed(run.input.example["question"])))


async def _rewarded(run: SubtaskRun) -> str:
    message = [{"role": "user", "content": run.input.example["question"]}]
    return str(await run.reward(message, model=run.model))


async def _evaluated(run: Any, answer: Any) -> Evaluation:
    with RawServer(answer) as server:
        model = Model("small", 1e6, base_url=server.url)
        gold = "(0.5, 5.0)" if run is _embedded else "0.25"
        rows = [{"id": word, "question": word, "gold": gold} for word in _WORDS]
        stage = Subtask("answer", (model,), run=run, prompt_tokens=5, completion_tokens=1)
        client = OpenAIClient(timeout_s=0.5, max_retries=1)
        pipeline = Pipeline("p", (stage,), metric=equal("gold"))
        async with LiveEnvironment(pipeline, rows, client=client, embedder=model, probe=False) as environment:
            return await environment.evaluate(ONE)


_CASES = [(_embedded, name, bad) for name, bad in _EMBEDDING.items()]
_CASES += [(_rewarded, name, bad) for name, bad in _REWARD.items()]


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agenttts.llm.asking._FIRST_PAUSE_S", 0.01)


@pytest.mark.parametrize(("run", "name", "bad"), _CASES)
async def test_a_bad_answer_is_asked_for_again(run: Any, name: str, bad: Answer) -> None:
    evaluation = await _evaluated(run, _Vectors(bad, 1))
    assert evaluation.score == 1 and len(evaluation.results) == 3 and not evaluation.missing
    assert 0 < evaluation.spend.tokens < 10


@pytest.mark.parametrize(("run", "name", "bad"), [*_CASES, (_embedded, "drip", DRIP), (_rewarded, "nothing", None)])
async def test_bad_answers_for_ever_leave_the_example_missing(run: Any, name: str, bad: Answer | None) -> None:
    evaluation = await _evaluated(run, _Vectors(bad, 10**9))
    assert set(evaluation.missing) == {"word1"} and len(evaluation.results) == 2 and evaluation.score == 1
    assert "model 'small' at http://127.0.0.1" in evaluation.missing["word1"]


async def test_a_reward_that_is_no_probability_is_not_kept(tmp_path: Path) -> None:
    given = iter((1.7, 0.5))
    with RawServer(lambda asked, number: http(_body("data", f"[{next(given)}]"))) as server:
        store, client = Store(str(tmp_path / "s.db")), OpenAIClient()
        pool, model = SamplePool(store.samples), Model("prm", 1e6, base_url=server.url)
        with pytest.raises(ConfigError, match="reward model 'prm' gave 1.7, where only scores from 0 to 1 will do"):
            await pool.reward(client, model, prompt(), probability=True)
        reward, _ = await pool.reward(client, model, prompt(), probability=True)
        await client.close()
        store.close()
    assert reward == 0.5


async def _compared(run: SubtaskRun) -> str:
    one, other = [await run.embed(text) for text in ("kept", run.input.example["question"])]
    return str(int(sum(a * b for a, b in zip(one, other, strict=True))))


async def test_embeddings_that_cannot_be_compared_are_no_score() -> None:
    numbers, pool = ["[1, 2]"], SamplePool()
    with RawServer(lambda asked, number: http(_body("embedding", numbers[0]))) as server:
        model = Model("small", 1e6, base_url=server.url)
        rows = [{"id": word, "question": word, "gold": "5"} for word in _WORDS]
        stage = Subtask("answer", (model,), run=_compared, prompt_tokens=5, completion_tokens=1)
        pipeline = Pipeline("p", (stage,), metric=equal("gold"))
        async with LiveEnvironment(pipeline, rows[:1], embedder=model) as environment:
            assert (await environment.evaluate(ONE, pool=pool)).score == 1
        numbers[0] = "[1, 2, 3]"
        async with LiveEnvironment(pipeline, rows[1:], embedder=model) as environment:
            with pytest.raises(ConfigError, match="embeddings of 2 and of 3 numbers: .* give it another revision"):
                await environment.evaluate(ONE, pool=pool)
