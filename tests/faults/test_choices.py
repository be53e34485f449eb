"""What the choices of an answer hold is what is scored, and what holds nothing is counted by name.

| tried | must be |
|---|---|
| indexes in another order | samples in the order of the indexes |
| indexes that are missing, equal, texts, booleans | samples in the order in which they came |
| more choices than were asked for | the first ones |
| one null choice among four | three samples are kept, the fourth is asked for |
| a refusal, beside text or alone, as a part, by `content_filter` | a refusal: counted, the same when reused |
| `length` with no text or blanks only | counted as cut, told once with `max_tokens` |
| `length` with text | counted as cut; a vote only where no whole sample is one |
| a list of parts, of texts and of parts of other kinds | the texts joined |
| tokens by which a model ends, left in the text | no part of it; nothing else is: empty |
| a tool's call, reasoning without text, an empty text | an empty sample: no vote, counted |
"""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import agenttts as at
from agenttts.db import Store
from agenttts.execution.pool import SamplePool
from agenttts.llm.openai import OpenAIClient
from agenttts.pipeline import Model, Sampling
from agenttts.space import Allocation
from tests.faults.server import ONE, RawServer, completion, environment, on_question, pipeline, prompt, right, texts


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agenttts.llm.asking._FIRST_PAUSE_S", 0.01)


def choice(text: Any, index: Any = 0, reason: Any = "stop", **message: Any) -> dict[str, Any]:
    return {"index": index, "finish_reason": reason, "message": {"content": text, **message}}


async def drawn(answer: dict[str, Any], samples: int = 4) -> list[Any]:
    with RawServer(lambda asked, number: answer) as server:
        client = OpenAIClient(timeout_s=2, max_retries=1)
        model = Model("small", 1e6, base_url=server.url)
        bought = await client.complete(model, prompt(), Sampling(max_tokens=16), start=0, samples=samples, seed=0)
        await client.close()
    return list(bought.samples)


@pytest.mark.parametrize(
    ("indexes", "expected"),
    [
        ((2, 0, 3, 1), "bdac"),
        ((0, 0, 0, 0), "abcd"),
        ((None, None, None, None), "abcd"),
        ((3, 2, None, 0), "abcd"),
        (("3", "2", "1", "0"), "abcd"),
        ((True, False, 2, 3), "abcd"),
        ((-1, 7, 5, 100), "acbd"),
    ],
)
async def test_choices_are_ordered_by_index(indexes: tuple[Any, ...], expected: str) -> None:
    choices = [choice(text, index) for text, index in zip("abcd", indexes, strict=True)]
    assert texts(await drawn(completion(choices=choices))) == list(expected)


async def test_more_choices_than_were_asked_for_are_left_out() -> None:
    assert texts(await drawn(completion(*"abcdefg"))) == list("abcd")


async def test_of_several_choices_only_the_null_one_is_asked_for_again(store: Store) -> None:
    def answer(asked: dict[str, Any], number: int) -> dict[str, Any]:
        found = right(asked)
        if number == 1:
            found["choices"][2]["message"]["content"] = None
        return found

    with RawServer(answer) as server:
        client, pool = OpenAIClient(timeout_s=2), SamplePool(store.samples)
        model = Model("small", 1e6, base_url=server.url)
        found = await pool.draw(client, model, prompt(), Sampling(), 4)
        await client.close()
        assert [asked.get("n", 1) for asked in server.requests] == [4, 1]
    assert texts(found.samples) == ["word"] * 4


REFUSALS = {
    "alone": choice(None, refusal="I can't help with that"),
    "beside text": choice("word5", refusal="I can't"),
    "as a part": choice([{"type": "refusal", "refusal": "I can't"}]),
    "content_filter": choice(None, reason="content_filter"),
    "content_filter in the midst": choice("word5", reason="content_filter"),
}
CUT = {
    "null": choice(None, reason="length"),
    "empty": choice("", reason="length"),
    "blanks": choice(" \n", reason="length"),
    "reasoning": choice(None, reason="length", reasoning_content="hm"),
}


@pytest.mark.parametrize("kind", [*REFUSALS, *CUT])
async def test_what_holds_nothing_is_counted_by_name(
    kind: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = str(tmp_path / "runs.db")
    cut = kind in CUT
    with RawServer(on_question("word5", completion(choices=[{**REFUSALS, **CUT}[kind]]))) as server:
        for _ in range(2):  # what was paid for is the same when it is reused
            store = Store(path)
            async with environment(server.url) as searched:
                evaluation = await searched.evaluate(ONE, pool=SamplePool(store.samples))
            store.close()
            usage = evaluation.usage["answer"]
            assert (usage.unparsable, usage.refused, usage.cut) == (1, int(not cut), int(cut))
            assert evaluation.whole and evaluation.failures == 1 and evaluation.score == pytest.approx(11 / 12)
            what = "used up max_tokens before saying anything" if cut else "refused"
            assert list(evaluation.errors) == [f"subtask 'answer': none of 1 samples could be parsed (1 {what})"]
        assert len(server.requests) == 12
    told = [record.message for record in caplog.records if "used up max_tokens=16" in record.message]
    assert len(told) == cut


async def test_one_refusal_among_votes_is_no_vote() -> None:
    def answer(asked: dict[str, Any], number: int) -> dict[str, Any]:
        found = right(asked)
        found["choices"][0]["message"] = {"content": None, "refusal": "no"}
        return found

    with RawServer(answer) as server:
        async with environment(server.url) as searched:
            evaluation = await searched.evaluate(Allocation({"answer": ("small", 3)}))
    assert evaluation.score == 1 and evaluation.usage["answer"].refused == 12


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ([{"type": "text", "text": "one "}, {"type": "text", "text": "two"}], "one two"),
        (["one ", {"text": "two"}, {"type": "image_url"}], "one two"),
        ([], ""),
        ("", ""),
        ("half \ud800", "half \\ud800"),
    ],
)
async def test_contents_of_several_forms(content: Any, text: str) -> None:
    assert texts(await drawn(completion(choices=[choice(content)]), 1)) == [text]


@pytest.mark.parametrize(
    "given",
    [
        choice(None, reason="tool_calls", tool_calls=[{"id": "1"}]),
        choice(None, reason="stop", reasoning_content="so be it"),
        choice("", reason="stop"),
    ],
)
async def test_an_empty_completion_is_one(given: dict[str, Any]) -> None:
    (sample,) = await drawn(completion(choices=[given]), 1)
    assert (sample.text, sample.ended) == ("", "empty")


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("word5<|im_end|>", "word5"), ("word5 <|eot_id|>\n<|end_of_text|> ", "word5 "), ("word5<end_of_turn>", "word5"),
        ("<think>so</think>word5<|im_end|>", "word5"), ("word5", "word5"), ("a <|im_end|> b", "a <|im_end|> b"),
        ("x<|end|", "x<|end|"), ("<s>word5</s>", "<s>word5</s>"), ("<|im_end|>", ""),
    ],
)  # fmt: skip
async def test_tokens_by_which_a_model_ends_are_no_text(given: str, kept: str) -> None:
    (sample,) = await drawn(completion(given), samples=1)
    assert sample.text == kept and sample.ended == ("" if kept else "empty")


async def test_text_that_was_cut_off_is_unfinished(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        (sample,) = await drawn(completion("the begin", choices=[choice("the begin", reason="length")]), 1)
    assert (sample.text, sample.said, sample.ended) == ("the begin", "the begin", "unfinished") and not caplog.records


@pytest.mark.parametrize(("cut", "score"), [(2, 1.0), (3, 0.0)])
async def test_what_was_cut_off_votes_only_where_nothing_whole_does(cut: int, score: float) -> None:
    def answer(asked: dict[str, Any], number: int) -> dict[str, Any]:
        found = right(asked)
        for each in found["choices"][:cut]:
            each |= {"finish_reason": "length", "message": {"content": "wo"}}
        return found

    with RawServer(answer) as server:
        async with environment(server.url) as searched:
            evaluation = await searched.evaluate(Allocation({"answer": ("small", 3)}))
    usage = evaluation.usage["answer"]
    assert (evaluation.score, usage.cut, usage.unparsable, usage.samples) == (score, 12 * cut, 0, 36)


def likes(value: str, given: at.SubtaskInput) -> float:
    return float(value == "wo")


@pytest.mark.parametrize(
    "operator",
    [
        at.operators.Cascade(to=Model("dear", 1e6), agree=0.6),
        at.operators.AdaptiveVote(window=2, confidence=0.8),
        at.operators.WindowVote(window=2),
        at.operators.Refine(likes, width=2),
    ],
    ids=lambda operator: operator.name,
)
async def test_what_was_cut_off_decides_nothing_beside_whole_answers(operator: Any) -> None:
    """Half the answers, and the first ones, are cut to the same two letters; whole ones are right."""

    def answer(asked: dict[str, Any], number: int) -> dict[str, Any]:
        found = right({"messages": [asked["messages"][0]], "n": asked.get("n", 1)})
        if asked["model"] == "dear":
            return completion(*["dear"] * asked.get("n", 1))
        for each in found["choices"][:2] if number == 1 or isinstance(operator, at.operators.Cascade) else ():
            each |= {"finish_reason": "length", "message": {"content": "wo"}}
        return found

    with RawServer(answer) as server:
        stages = pipeline(server.url)
        changed = replace(stages.subtasks[0], operators=(operator,))
        routed = changed.with_models(lambda model: replace(model, base_url=server.url))
        rows = [{"id": "1", "question": "word", "gold": "word"}]
        client = OpenAIClient(timeout_s=2)
        searched = at.LiveEnvironment(replace(stages, subtasks=(routed,)), rows, client=client)
        async with searched:
            evaluation = await searched.evaluate(Allocation({"answer": ("small", 4)}))
    assert evaluation.score == 1


@pytest.mark.parametrize(
    ("verdict", "reason", "score"),
    [
        ("No", "stop", 1.0),
        ("No", "length", 1.0),
        ("Is anything wrong? No", "length", 0.0),
        ("Let me see whether it says no", "length", 0.0),
    ],
)
async def test_a_verdict_that_is_cut_off_is_none(verdict: str, reason: str, score: float) -> None:
    """Of a wrong and a right candidate the wrong one is drawn first: a verdict that is none leaves it there."""

    def answer(asked: dict[str, Any], number: int) -> dict[str, Any]:
        question = asked["messages"][-1]["content"]
        if "Proposed response" not in question:
            return completion(choices=[choice("wrong"), choice(question.split()[-1])])
        told = choice(verdict, reason=reason) if question.endswith("wrong") else choice("I cannot say")
        return completion(choices=[told])

    with RawServer(answer) as server:
        stages = pipeline(server.url)
        judge = Model("judge", 1e6, base_url=server.url)
        judged = replace(stages.subtasks[0], operators=(at.operators.BestOf(judge),))
        client = OpenAIClient(timeout_s=2)
        rows = [{"id": "1", "question": "word", "gold": "word"}]
        searched = at.LiveEnvironment(replace(stages, subtasks=(judged,)), rows, client=client)
        async with searched:
            evaluation = await searched.evaluate(Allocation({"answer": ("small", 2)}))
    assert evaluation.score == score
