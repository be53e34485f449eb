"""The live environment: the graph is walked, samples are parsed and merged, failures are counted."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager, nullcontext
from pathlib import Path
from typing import Any

import pytest

from agenttts.environments import LiveEnvironment, load_examples
from agenttts.errors import ConfigError, EndpointError
from agenttts.llm.openai import OpenAIClient
from agenttts.pipeline import Message, Model, Pipeline, Subtask, SubtaskInput, SubtaskRun
from agenttts.pipeline.aggregators import BestOf, Fuse, IdVote
from agenttts.pipeline.metrics import equal
from agenttts.pipeline.parsers import ids, json_object, number, tagged
from agenttts.space.allocation import Allocation
from agenttts.testing import ScriptedClient
from tests.endpoint import FakeEndpoint, Fault

M = Model("m", 1e9)
ONE = [{"id": "1", "question": "q", "gold": "x"}]


def single(subtask: Subtask, reply: Any, rows: Sequence[dict[str, Any]] = ONE) -> LiveEnvironment:
    client = ScriptedClient(lambda model, messages, position: reply(messages, position))
    return LiveEnvironment(Pipeline("p", (subtask,), metric=equal("gold")), rows, client=client)


def allocation(samples: int) -> Allocation:
    return Allocation({"s": ("m", samples)})


async def test_scores_and_usage_by_hand(toy_environment: LiveEnvironment) -> None:
    small = Allocation({"find": ("small", 1), "answer": ("small", 1)})
    evaluation = await toy_environment.evaluate(small)
    assert evaluation.score == 0.9  # wrong on the last question only
    assert [result.example for result in evaluation.results] == [f"e{i}" for i in range(10)]
    assert evaluation.usage["find"].samples == 10 and evaluation.usage["answer"].prompt_tokens == 2
    assert evaluation.spend.requests == 20 and evaluation.spend.prompt_tokens == 10 + 20
    again = await toy_environment.evaluate(small)
    assert again.spend.tokens == 0 and again.spend.reused_tokens == evaluation.spend.tokens
    assert again.results == evaluation.results


async def test_measured_lengths_calibrate_a_pipeline(toy_environment: LiveEnvironment) -> None:
    evaluation = await toy_environment.evaluate(Allocation({"find": ("large", 2), "answer": ("large", 1)}))
    calibrated = toy_environment.pipeline.with_lengths(evaluation.lengths)
    assert [(s.prompt_tokens, s.completion_tokens) for s in calibrated.subtasks] == [(1, 1), (2, 1)]
    assert calibrated.fingerprint == toy_environment.pipeline.fingerprint


async def test_fewer_samples_are_a_prefix_of_more(toy_environment: LiveEnvironment) -> None:
    more = Allocation({"find": ("small", 4), "answer": ("large", 5)})
    await toy_environment.evaluate(more)
    fewer = await toy_environment.evaluate(Allocation({"find": ("small", 4), "answer": ("large", 2)}))
    assert fewer.spend.tokens == 0


async def test_a_graph_passes_outputs_along_its_edges() -> None:
    def echo(name: str) -> Subtask:
        return Subtask(name, (M,), f"{name} {{{{ question }}}}", after=())

    join = Subtask("join", (M,), "{{ left }}|{{ right }}", after=("left", "right"))
    client = ScriptedClient(lambda model, messages, position: f"<{messages[-1]['content']}>")
    environment = LiveEnvironment(
        Pipeline("p", (echo("left"), echo("right"), join), metric=equal("gold")),
        [{"id": "1", "question": "q", "gold": "<<left q>|<right q>>"}],
        client=client,
    )
    evaluation = await environment.evaluate(Allocation({name: ("m", 1) for name in ("left", "right", "join")}))
    assert evaluation.score == 1


async def test_unparsable_samples_are_counted_non_votes() -> None:
    replies = ["none", "2", "3", "2", "nothing"]
    subtask = Subtask("s", (M,), "{{ question }}", parser=number)
    environment = single(subtask, lambda messages, position: replies[position], [{**ONE[0], "gold": 2.0}])
    evaluation = await environment.evaluate(allocation(5))
    assert evaluation.score == 1 and evaluation.usage["s"].unparsable == 2
    failed = await environment.evaluate(allocation(1))
    assert (failed.score, failed.failures) == (0, 1)
    assert failed.results[0].error == "subtask 's': none of 1 samples could be parsed"


async def test_a_default_stands_in_when_nothing_can_be_parsed() -> None:
    subtask = Subtask("s", (M,), "{{ question }}", parser=number, default="unknown")
    evaluation = await single(subtask, lambda messages, position: "?").evaluate(allocation(2))
    assert evaluation.failures == 0 and evaluation.results[0].output == "unknown"


@pytest.mark.parametrize(
    ("samples", "kept"),
    [
        ([(1, 2), (2, 3), (2,)], (1, 2)),  # two ids is the most frequent length; 1 and 3 tie: the lower
        ([(5,), (4,), (4, 5)], (4,)),  # one vote each way: the lower id
        ([(1, 2, 3), (7,)], (1,)),  # lengths tie: the shorter list; ids tie: the lowest
        ([(3, 3, 3), (1,), (1,)], (1,)),  # an id counts once per sample
    ],
)
async def test_id_vote_by_hand(samples: list[tuple[int, ...]], kept: tuple[int, ...]) -> None:
    assert await IdVote().aggregate(samples, run=None) == kept  # type: ignore[arg-type]  # it asks no model


async def test_fusion_asks_the_same_model_once_for_several_samples() -> None:
    seen: list[str] = []

    def reply(messages: Sequence[Message], position: int) -> str:
        seen.append(messages[-1]["content"])
        return "x" if "[2]" in messages[-1]["content"] else f"draft{position}"

    environment = single(Subtask("s", (M,), "{{ question }}", aggregator=Fuse()), reply)
    assert (await environment.evaluate(allocation(2))).score == 1
    assert "draft0" in seen[-1] and "draft1" in seen[-1] and "q" in seen[-1]
    drafts = len(seen)
    assert (await environment.evaluate(allocation(1))).score == 0
    assert len(seen) == drafts  # one sample is passed on as it is, and it was in the pool


async def test_best_of_takes_the_judges_choice_and_counts_an_empty_verdict() -> None:
    def judged(verdict: str) -> LiveEnvironment:
        def reply(messages: Sequence[Message], position: int) -> str:
            return verdict if "[2]" in messages[-1]["content"] else "ax"[position]

        return single(Subtask("s", (M,), "{{ question }}", aggregator=BestOf()), reply)

    assert (await judged("Candidate 2.").evaluate(allocation(2))).score == 1
    undecided = await judged("neither").evaluate(allocation(2))
    assert undecided.score == 0 and undecided.usage["s"].unparsable == 1


async def test_a_coroutine_can_be_the_whole_stage() -> None:
    async def converse(run: SubtaskRun) -> str:
        first = await run.draw([{"role": "user", "content": "draft"}])
        (second,) = await run.draw([{"role": "user", "content": f"revise {len(first)}"}], 1)
        return second

    environment = single(Subtask("s", (M,), run=converse), lambda messages, position: messages[-1]["content"],
                         [{"id": "1", "gold": "revise 3"}])  # fmt: skip
    evaluation = await environment.evaluate(allocation(3))
    assert evaluation.score == 1 and evaluation.usage["s"].samples == 4


async def test_a_users_exception_is_a_failed_example_not_a_crash() -> None:
    def explode(given: SubtaskInput) -> str:
        return str(given.example["passage"])

    rows = [{"id": "1", "gold": "x"}, {"id": "2", "gold": "x", "passage": "p"}]
    subtask = Subtask("s", (M,), explode)
    evaluation = await single(subtask, lambda m, p: "x", rows).evaluate(allocation(1))
    assert evaluation.failures == 1 and evaluation.results[0].error == "KeyError: 'passage'"
    with pytest.raises(ConfigError, match="own functions failed for every example: KeyError: 'passage'"):
        await single(subtask, lambda m, p: "x", [rows[0], {**rows[0], "id": "2"}]).evaluate(allocation(1))


async def test_a_dead_endpoint_refuses_the_trial_instead_of_scoring_it_zero() -> None:
    def down(messages: Sequence[Message], position: int) -> str:
        raise EndpointError("model 'm' did not answer")

    environment = single(Subtask("s", (M,), "{{ question }}"), down)
    with pytest.raises(EndpointError, match="every example failed.*did not answer"):
        await environment.evaluate(allocation(1))


async def test_one_failed_example_among_many_scores_zero(endpoint: FakeEndpoint) -> None:
    endpoint.reply = lambda messages, seed: "x"
    endpoint.models = ["m"]
    model = Model("m", 1e9, base_url=endpoint.url)
    endpoint.faults = [Fault(400, "too long")]
    pipeline = Pipeline("p", (Subtask("s", (model,), "{{ id }}"),), metric=equal("gold"))
    rows = [{"id": str(i), "gold": "x"} for i in range(4)]
    async with LiveEnvironment(pipeline, rows, client=OpenAIClient(max_retries=0)) as environment:
        evaluation = await environment.evaluate(allocation(1))
    assert (evaluation.score, evaluation.failures) == (0.75, 1)


class InTurns:
    """Plays servers that cannot all answer at once: these need GPUs."""

    takes_turns = True

    def __init__(self, url: str) -> None:
        self._url = url

    async def start(self) -> dict[str, str]:
        return {"m": self._url}

    async def stop(self) -> None:
        pass

    def turn(self, served_name: str) -> AbstractAsyncContextManager[None]:
        return nullcontext()

    def gpus(self, served_name: str) -> int:
        return 1


@pytest.mark.parametrize("in_turns", [False, True])
async def test_few_examples_are_under_way_where_servers_take_no_turns(endpoint: FakeEndpoint, in_turns: bool) -> None:
    begun, scored, most = set[str](), set[str](), 0
    expected, all_begun = 700 if in_turns else 512, threading.Event()

    def prompt(inputs: SubtaskInput) -> str:
        nonlocal most
        begun.add(inputs.example["id"])
        most = max(most, len(begun) - len(scored))
        if most >= expected:
            all_begun.set()
        return str(inputs.example["id"])

    def reply(messages: Sequence[Message], seed: int) -> str:
        all_begun.wait(30)
        return "x"

    def metric(output: Any, example: Any) -> float:
        scored.add(example["id"])
        return 1.0

    endpoint.models, endpoint.reply = ["m"], reply
    model = Model("m", 1e9, base_url="" if in_turns else endpoint.url)
    pipeline = Pipeline("p", (Subtask("s", (model,), prompt),), metric=metric)
    rows = [{"id": str(i), "gold": "x"} for i in range(700)]
    serving, client = InTurns(endpoint.url) if in_turns else None, OpenAIClient(max_in_flight=1)
    async with LiveEnvironment(pipeline, rows, client=client, serving=serving, probe=False) as environment:
        evaluation = await environment.evaluate(allocation(1))
    assert (evaluation.score, len(evaluation.results)) == (1.0, 700)
    assert most == expected


async def test_the_first_example_that_ends_an_evaluation_is_told_and_results_keep_their_order(
    endpoint: FakeEndpoint,
) -> None:
    asked: list[str] = []

    def metric(output: Any, example: Any) -> float:
        asked.append(example["id"])
        return 2.0 if example["id"] in unsound else 1.0

    unsound: set[str] = set()
    endpoint.models = ["m"]
    pipeline = Pipeline("p", (Subtask("s", (Model("m", 1e9, base_url=endpoint.url),), "{{ id }}"),), metric=metric)
    rows = [{"id": str(i)} for i in range(40)]
    async with LiveEnvironment(pipeline, rows, client=OpenAIClient(max_in_flight=4), probe=False) as environment:
        names = [str(i) for i in range(39, -1, -1)]
        results = (await environment.evaluate(allocation(1), names)).results
        assert [each.example for each in results] == names
        unsound |= {"31", "8"}
        asked.clear()
        with pytest.raises(ConfigError, match="for the output .* of example '31'"):
            await environment.evaluate(allocation(1), names)
        assert set(asked) == set(names), "what one ends with cuts off none of the others"


def percent(output: Any, example: Any) -> float:
    return 100.0 * float(output == example["gold"])


def mean_found(output: Any, example: Any) -> float:
    return float("nan") if output == [] else float(output in example["gold"])


@pytest.mark.parametrize(
    ("metric", "stage_metric", "message"),
    [
        (lambda output, example: -0.1, None, "metric of pipeline 'p' gave -0.1"),
        (percent, None, "metric of pipeline 'p' gave 100.0 for the output 'x' of example '1'"),
        (mean_found, None, "metric of pipeline 'p' gave nan"),
        (equal("gold"), percent, "metric of subtask 's' gave 100.0"),
    ],
)
async def test_a_metric_on_another_scale_shows_before_anything_is_bought(
    metric: Any, stage_metric: Any, message: str
) -> None:
    client = ScriptedClient(lambda model, messages, position: "x")
    pipeline = Pipeline("p", (Subtask("s", (M,), "{{ question }}", metric=stage_metric),), metric=metric)
    with pytest.raises(ConfigError, match=rf"{message}.* must be in \[0, 1\]"):
        async with LiveEnvironment(pipeline, ONE, client=client):
            pass
    assert client.requests == 0


async def test_a_metric_of_another_type_of_output_is_no_fault() -> None:
    def found(output: Any, example: Any) -> float:
        return float(output["answer"] == example["gold"])  # a TypeError on text, a KeyError on a list

    pipeline = Pipeline("p", (Subtask("s", (M,), "x", parser=json_object, metric=found),), metric=found)
    client = ScriptedClient(lambda model, messages, position: '{"answer": "x"}')
    async with LiveEnvironment(pipeline, ONE, client=client) as environment:
        assert (await environment.evaluate(allocation(1))).score == 1


@pytest.mark.parametrize(
    ("prompt", "message"),
    [("{{ missing }}", "names 'missing', which example '1' lacks"), ("{{ open", "not a valid template")],
)
def test_a_broken_template_is_named(prompt: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        single(Subtask("s", (M,), prompt), lambda m, p: "x")


def test_examples_files_name_their_broken_line(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text('{"question": "a\u2028b"}\n\n{"id": "mine"}\n', encoding="utf-8")
    assert [row["id"] for row in load_examples(path)] == ["1", "mine"]
    path.write_text('{"a": 1}\n{"a": \n')
    with pytest.raises(ConfigError, match="rows.jsonl, line 2: not valid JSON"):
        load_examples(path)
    path.write_text("[1]\n")
    with pytest.raises(ConfigError, match="line 1: expected a JSON object, found list"):
        load_examples(path)
    with pytest.raises(ConfigError, match="cannot read the examples file '/.*none.jsonl': No such file"):
        load_examples(tmp_path / "none.jsonl")


def test_a_relative_path_of_examples_tells_where_it_was_looked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError) as caught:
        load_examples("rows/none.jsonl")
    assert f"'rows/none.jsonl' (looked for as '{tmp_path}/rows/none.jsonl'): No such file" in str(caught.value)


@pytest.mark.parametrize("rows", [[], [{"id": "1"}, {"id": "1"}]])
def test_no_examples_or_two_of_one_id_are_refused(rows: list[dict[str, Any]]) -> None:
    pipeline = Pipeline("p", (Subtask("s", (M,), "x"),), metric=equal("gold"))
    with pytest.raises(ConfigError, match="has no examples|same id"):
        LiveEnvironment(pipeline, rows)


def test_the_fingerprint_follows_the_examples() -> None:
    subtask = Subtask("s", (M,), "{{ question }}")
    same, other = single(subtask, print), single(subtask, print, [{**ONE[0], "gold": "y"}])
    assert single(subtask, print).fingerprint == same.fingerprint != other.fingerprint


def test_parsers_by_hand() -> None:
    given = SubtaskInput({"passages": ["a", "b", "c"]})
    assert ids("passages")("[3] then [1], [3] and [9]", given) == (3, 1)
    assert number("about 1,234.5 or -7", given) == -7
    assert json_object('Sure: {"a": {"b": 1}} done', given) == {"a": {"b": 1}}
    assert tagged("Answer:")("Answer: no\nAnswer: yes \nbye", given) == "yes"


async def test_templates_cannot_reach_into_python() -> None:
    environment = single(Subtask("s", (M,), "{{ question.__class__.__mro__ }}"), lambda m, p: "x")
    with pytest.raises(ConfigError, match="cannot be rendered"):
        await environment.evaluate(allocation(1))


async def embed(run: SubtaskRun) -> str:
    return str(await run.embed(run.input.example["question"]))


async def test_a_subtask_buys_embeddings_through_the_pool(
    endpoint: FakeEndpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", endpoint.url)
    endpoint.models, endpoint.embedding = ["m"], lambda text: [1, len(text) / 4]
    rows = [{"id": str(i), "question": "a b", "gold": "(1.0, 0.75)"} for i in range(3)]
    pipeline = Pipeline("p", (Subtask("s", (M,), run=embed),), metric=equal("gold"))
    live = LiveEnvironment(pipeline, rows, embedder=Model("e", 1, usd_per_million_prompt_tokens=0.5))
    async with live:
        evaluation = await live.evaluate(allocation(1))
        again = await live.evaluate(allocation(1))
    assert evaluation.score == again.score == 1
    assert (evaluation.spend.prompt_tokens, evaluation.spend.reused_prompt_tokens) == (2, 4)
    assert evaluation.spend.usd == pytest.approx(2 * 0.5 / 1e6) and again.spend.tokens == 0
    assert [body["input"] for body in endpoint.requests] == ["ready", "a b"]


async def test_embeddings_that_cannot_be_had_are_one_sentence(
    endpoint: FakeEndpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", endpoint.url)
    endpoint.models = ["m"]
    pipeline, model = Pipeline("p", (Subtask("s", (M,), run=embed),), metric=equal("gold")), Model("e", 1)
    with pytest.raises(ConfigError, match="give the LiveEnvironment an embedder"):
        await LiveEnvironment(pipeline, ONE).evaluate(allocation(1))
    with pytest.raises(ConfigError, match="needs embeddings, which its client does not offer"):
        LiveEnvironment(pipeline, ONE, client=ScriptedClient(lambda *_: ""), embedder=model)
    for fault, error in [(Fault(404), ConfigError), (Fault(501), ConfigError), (Fault(401), EndpointError)]:
        endpoint.faults = [fault] * 9
        with pytest.raises(error, match=rf"model 'e' .*answered {fault.status}"):
            async with LiveEnvironment(pipeline, ONE, client=OpenAIClient(max_retries=0), embedder=model):
                pass
