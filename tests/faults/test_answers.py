"""A server's fault never becomes a score.

| tried | must be |
|---|---|
| HTML, other JSON, `{"error"}`, no choices, 204, nothing, cut JSON, wrong types, nesting, 9 MiB: once | as without |
| a choice that the server broke off, a stream that is cut, is none or ends by an error: once | as without |
| 400, 401, 403, 404, 408, 409, 425, 429, 5xx in the midst of a run: once | as without |
| 429 with a Retry-After of an hour, a date, NaN, below 0: once | as without, the pause bounded |
| a connection closed without a word, in the head, in the body, no HTTP: once | as without |
| each of them on one example, for ever | the example is missing, with its reason; the others' results unchanged |
| one of them in a search with a held-out check, then never | not recommended, said; a resumed run completes both |
| one of them on every example | EndpointError, as of a dead server |
| a function of the user's that goes on without the draw that failed | missing, too |

Null contents, refusals, content filters, `length`, parts and indexes are in `test_choices.py`.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import agenttts as at
from agenttts.db import Store
from agenttts.environments import LiveEnvironment
from agenttts.errors import EndpointError
from agenttts.llm.chat import ChatModel
from agenttts.llm.openai import OpenAIClient
from agenttts.pipeline import Pipeline, Sampling, Subtask, SubtaskRun
from agenttts.pipeline.metrics import equal
from agenttts.searching import Limits
from tests.faults.server import (
    ONE,
    Answer,
    RawServer,
    completion,
    environment,
    http,
    on_question,
    pipeline,
    prompt,
    right,
    space,
    texts,
)

HALF = '{"choices": [{"index": 0, "delta": {"content": "half a"}}]}'
CALL = '{"choices": [{"index": 0, "delta": {"content": "", "tool_calls": [{"index": %s, "function": {"name": 7}}]}}]}'
NO_COMPLETION: dict[str, Answer] = {
    "html": http("<html>busy</html>", kind="text/html"),
    "error with 200": {"error": {"message": "overloaded", "code": 500}},
    "error as text": {"error": "no worker"},
    "no choices": completion(choices=[]),
    "choices null": completion(choices=None),
    "choices an object": completion(choices={"0": "a"}),
    "choices of null": completion(choices=[None]),
    "choices of text": completion(choices=["word"]),
    "choice without message": completion(choices=[{"index": 0, "finish_reason": "stop"}]),
    "message null": completion(choices=[{"message": None}]),
    "message a text": completion(choices=[{"message": "word"}]),
    "content null": completion(choices=[{"message": {"content": None}, "finish_reason": "stop"}]),
    "content a number": completion(choices=[{"message": {"content": 7}, "finish_reason": "stop"}]),
    "content an object": completion(choices=[{"message": {"content": {"text": "x"}}, "finish_reason": "stop"}]),
    "an error beside choices": completion("wrong", error={"message": "upstream", "code": 502}),
    "ended by an error": completion(choices=[{"message": {"content": "half a"}, "finish_reason": "error"}]),
    "aborted": completion(choices=[{"message": {"content": "half a"}, "finish_reason": "abort"}]),
    **{
        f"ended by {reason}": completion(choices=[{"message": {"content": "half a"}, "finish_reason": reason}])
        for reason in ("ERROR", "cancelled", "model_error", "network_error", "insufficient_system_resource", "time_out")
    },
    "text without message": completion(choices=[{"index": 0, "text": "word", "finish_reason": "stop"}]),
    "XML": http("<Error><Code>SlowDown</Code></Error>", kind="application/xml"),
    "packed, but is not": http(b"not gzip", Content_Encoding="gzip"),
    "two objects": http(json.dumps(completion("x")) * 2),
    "204": http(b"", status="204 No Content"),
    "empty": http(b""),
    "cut JSON": http(json.dumps(completion("word"))[:-20]),
    "a list": http("[]"),
    "a number": http("3"),
    "null": http("null"),
    "deep nesting": http("[" * 200_000),
    "9 MiB": http(b'{"choices": "' + b"x" * (9 * 2**20) + b'"}'),
    "event stream": http("data: {}\n\n", kind="text/event-stream"),
    **{
        f"a stream that {how}": http("data: " + HALF + "\n\n" + rest, kind="text/event-stream")
        for how, rest in {
            "is cut": "",
            "is cut in an event": 'data: {"choices": [{"ind',
            "ends by an event called error": 'event: error\ndata: {"message": "busy"}\n\ndata: [DONE]\n\n',
            "ends by an error object": 'data: {"object": "error", "message": "busy"}\n\ndata: [DONE]\n\n',
            "ends by an error type": 'data: {"type": "error", "message": "busy"}\n\ndata: [DONE]\n\n',
            "holds lists": "data: []\n\ndata: [DONE]\n\n",
            "has choices of text": 'data: {"choices": ["x"]}\n\ndata: [DONE]\n\n',
            "has an index of text": 'data: {"choices": [{"index": "x", "delta": {}}]}\n\ndata: [DONE]\n\n',
            "has a call of a number": f"data: {CALL % 7}\n\ndata: [DONE]\n\n",
        }.items()
    },
}
STATUSES: dict[str, Answer] = {
    **{
        f"{status}": http('{"error": {"message": "no"}}', status=f"{status} No")
        for status in (400, 401, 403, 404, 408, 409, 425, 429, 500, 502, 503, 504, 529)
    },
    "307": http("", status="307 Moved", Location="http://127.0.0.1:1/v1/chat/completions"),
    "308": http("", status="308 Moved", Location="/v1/chat/completions"),
    "202": http('{"status": "queued"}', status="202 Accepted"),
    "429 at once": http("slow down", status="429 No", Retry_After="0"),
    "429 with NaN": http("slow down", status="429 No", Retry_After="nan"),
    "429 before": http("slow down", status="429 No", Retry_After="-5"),
    "429 with a date": http("slow down", status="429 No", Retry_After="Wed, 21 Oct 2015 07:28:00 GMT"),
    "a huge error": http(b"x" * 10**6, status="500 No"),
}
CONNECTIONS: dict[str, Answer] = {
    "closed": b"",
    "closed in the head": b"HTTP/1.1 200 OK\r\nContent-",
    "closed in the body": http(json.dumps(completion("word")))[:-10],
    "no HTTP": b"hello\r\n\r\n",
    "a bad chunk": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nZZ\r\n",
    "a huge header": b"HTTP/1.1 200 OK\r\nX: " + b"a" * 100_000 + b"\r\nContent-Length: 0\r\n\r\n",
}
EVERYTHING = {**NO_COMPLETION, **STATUSES, **CONNECTIONS}


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agenttts.llm.asking._FIRST_PAUSE_S", 0.01)


@pytest.mark.parametrize("kind", EVERYTHING)
async def test_one_bad_answer_changes_no_score(kind: str) -> None:
    with RawServer(right) as server:
        client = OpenAIClient(timeout_s=2, max_retries=2, max_in_flight=1)
        searched = environment(server.url, client=client)
        server.answer = on_question("word5", EVERYTHING[kind], times=1)
        async with searched:
            evaluation = await searched.evaluate(ONE)
        assert len(server.requests) == 13
    assert evaluation.score == 1 and evaluation.whole and not evaluation.failures


TEXT = "wo\u2028rd5"
STREAMED = json.dumps(
    {"choices": [{"index": 0, "delta": {"content": TEXT}, "finish_reason": "stop"}]}, ensure_ascii=False
)


@pytest.mark.parametrize(
    "stream",
    [
        f"data: {STREAMED}\n\n",
        f"\ufeffdata:{STREAMED}\r\n\r\ndata:[DONE]\r\n\r\n",
        f"id: 7\nevent: message\ndata: {STREAMED}\n\n",
        f"retry: 3\n\n: ping\n\ndata: {STREAMED}\r\r",
        "data: " + STREAMED.replace("[{", "[\ndata: {") + "\n\n",
        f'data: {STREAMED[:-1]}, "usage": {{"prompt_tokens": {"9" * 5000}}}}}',
        f"data: {CALL % (10**9)}\n\ndata: {STREAMED}\n\n".replace("7", '"f"'),
        f"data: {STREAMED.replace('stop', '')}\n\ndata: [DONE]\n\n",
    ],
)
async def test_a_stream_is_read_as_it_is_written(stream: str) -> None:
    with RawServer(lambda asked, number: http(stream, kind="text/event-stream")) as server:
        client, model = OpenAIClient(timeout_s=2, max_retries=0), pipeline(server.url).subtasks[0].models[0]
        drawn = await client.complete(model, prompt(), Sampling(max_tokens=16), start=0, samples=1, seed=0)
        await client.close()
    assert texts(drawn.samples) == [TEXT]


@pytest.mark.parametrize("kind", [kind for kind in NO_COMPLETION if kind.startswith("a stream")])
async def test_a_planner_whose_stream_is_none_has_not_answered(kind: str) -> None:
    with RawServer(lambda asked, number: NO_COMPLETION[kind]) as server:
        with pytest.raises(EndpointError, match="the planner's model 'small' at http"):
            await ChatModel("small", base_url=server.url, timeout_s=2).ask("q", system="s")


@pytest.mark.parametrize("kind", [kind for kind in EVERYTHING if kind != "400"])
async def test_an_example_without_an_answer_is_missing(kind: str) -> None:
    with RawServer(on_question("word5", EVERYTHING[kind])) as server:
        async with environment(server.url) as searched:
            evaluation = await searched.evaluate(ONE)
            assert set(evaluation.missing) == {"e5"} and evaluation.missing["e5"].startswith("model 'small' at http")
            assert evaluation.score == 1 and [r.example for r in evaluation.results].count("e5") == 0
            server.answer = right
            again = await searched.evaluate(ONE)
    assert again.whole and len(again.results) == 12


async def test_a_request_that_is_declined_is_the_pipelines_own_failure() -> None:
    with RawServer(on_question("word5", STATUSES["400"])) as server:
        async with environment(server.url) as searched:
            evaluation = await searched.evaluate(ONE)
    assert evaluation.whole and evaluation.failures == 1 and evaluation.score == pytest.approx(11 / 12)


async def test_a_long_retry_after_is_honoured_within_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agenttts.llm.asking.LONGEST_PAUSE_S", 0.3)
    with RawServer(on_question("word5", http("", status="429 No", Retry_After="3600"), times=1)) as server:
        async with environment(server.url) as searched:
            evaluation = await searched.evaluate(ONE)
    assert evaluation.score == 1 and 0.3 <= evaluation.spend.seconds < 2


@pytest.mark.parametrize("kind", ["html", "503", "closed", "content null"])
async def test_a_server_that_answers_nothing_at_all_is_an_error(kind: str) -> None:
    with RawServer(lambda asked, number: EVERYTHING[kind]) as server:
        async with environment(server.url, examples=3) as searched:
            with pytest.raises(EndpointError, match="every example failed with answer: small x1"):
                await searched.evaluate(ONE)


async def test_what_a_function_makes_of_a_failed_draw_is_no_score() -> None:
    async def careless(run: SubtaskRun) -> str:
        try:
            return (await run.draw([{"role": "user", "content": run.input.example["question"]}]))[0]
        except Exception:
            return "nothing"

    with RawServer(lambda asked, number: right(asked)) as server:
        models = pipeline(server.url).subtasks[0].models
        rows = [{"id": f"e{i}", "question": f"a word{i}", "gold": f"word{i}"} for i in range(4)]
        searched = LiveEnvironment(
            Pipeline("p", (Subtask("answer", models, run=careless),), metric=equal("gold")),
            rows,
            client=OpenAIClient(max_retries=1),
        )
        server.answer = on_question("word2", STATUSES["500"])
        async with searched:
            evaluation = await searched.evaluate(ONE)
    assert evaluation.score == 1 and set(evaluation.missing) == {"e2"}


async def test_a_search_recommends_only_what_is_whole_and_a_resumed_one_completes_it(tmp_path: Path) -> None:
    path = str(tmp_path / "runs.db")

    def hostile(asked: dict[str, Any], number: int) -> Answer:
        # The large model never answers the third question, the small one never the last, which is held out.
        bad = "word2" if asked["model"] == "large" else "word8"
        if asked["messages"][-1]["content"].endswith(bad):
            return http("<html>", kind="text/html")
        return completion("wrong") if asked["model"] == "small" and asked.get("n", 1) == 1 else right(asked)

    async def search() -> at.SearchResult:
        searched = environment(server.url, examples=6, held_out=3, client=OpenAIClient(timeout_s=2, max_retries=1))
        return await at.search(
            searched,
            at.searcher("grid", seed=0),
            space(searched),
            path,
            study_name="one",
            limits=Limits(trials=8),
            parallel=2,
        )

    with RawServer(hostile) as server:
        first = await search()
        incomplete = [trial for trial in first.archive.trials if trial.evaluation.missing]
        assert incomplete and all(set(trial.evaluation.missing) == {"e2"} for trial in incomplete)
        assert first.best.evaluation.whole and first.best.allocation["answer"].model == "small"
        assert first.validation is None
        assert "got no answer" in first.stopped and "the check on held-out examples is not whole" in first.stopped
        store = Store(path)
        check = store.validation(first.study, first.best.allocation, partly=True)
        assert check is not None and set(check.missing) == {"e8"}
        assert store.validation(first.study, first.best.allocation) is None
        store.close()
        server.answer = right
        before = len(server.requests)
        second = await search()
    assert all(len(trial.evaluation.results) == 6 and trial.evaluation.whole for trial in second.archive.trials)
    assert second.validation is not None and len(second.validation.results) == 3
    assert "got no answer" not in second.stopped
    assert len(server.requests) - before <= len(incomplete) + 3


async def test_nothing_is_sent_to_where_a_server_redirects() -> None:
    with RawServer(right) as other:
        moved = http("", status="307 Moved", Location=f"{other.url}/chat/completions")
        with RawServer(on_question("word5", moved)) as server:
            async with environment(server.url) as searched:
                evaluation = await searched.evaluate(ONE)
    assert set(evaluation.missing) == {"e5"} and "answered 307" in evaluation.missing["e5"] and not other.requests
