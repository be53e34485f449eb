"""TaskBench: its public formats, its metrics by hand and by library, and the pipeline from end to end over HTTP."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agenttts.environments import LiveEnvironment, environment
from agenttts.environments.tasks.taskbench import argument_f1, link_f1, node_f1, step_rouge_l, taskbench
from agenttts.errors import ConfigError
from agenttts.space import SearchSpace
from agenttts.space.allocation import Allocation
from agenttts.space.cost import FlopsCost, PaperCost
from tests.endpoint import FakeEndpoint
from tests.environments.tasks.data import OWN, SAMPLES

DATA = OWN / "taskbench"
DOMAINS = ("dailylifeapis", "multimedia", "huggingface")
STAGES = ("decomposition", "tool_selection", "parameter_prediction")
MODELS = ["meta-llama/Llama-3.1-8B-Instruct", "meta-llama/Llama-3.1-70B-Instruct"]


def rows(live: LiveEnvironment) -> list[dict[str, Any]]:
    return [dict(live.example(name)) for name in live.examples]


def each(model: str = "Llama-3.1-8B", samples: int = 1) -> Allocation:
    return Allocation({name: (model, samples) for name in STAGES})


@pytest.fixture
def copy(tmp_path: Path) -> Callable[[str], Path]:
    """A domain's folder that a test may damage."""
    return lambda domain: Path(shutil.copytree(DATA / f"data_{domain}", tmp_path / domain))


@pytest.mark.parametrize("domain", DOMAINS)
def test_the_public_formats_are_read(domain: str) -> None:
    folder = DATA / f"data_{domain}"
    live = taskbench(str(folder))
    assert live.name == f"taskbench-{domain}"  # so that studies of two domains have two names
    assert len(live.examples) == 10 and len(rows(taskbench(str(folder / "data.json")))) == 10
    for row in rows(live):
        assert row["request"] and row["steps"][0].startswith("Step 1: ") and row["nodes"]


def test_both_generations_of_labels_count_nodes_from_zero() -> None:
    new, old = ({row["id"]: row for row in rows(taskbench(str(DATA / f"data_{d}")))} for d in DOMAINS[1:])
    assert new["m08"]["nodes"][2] == {"task": "Text-to-Audio", "arguments": ["<node-1>"]}
    assert new["m08"]["links"][0] == {"source": "Image-to-Text", "target": "Text Translator"}
    assert old["h07"]["nodes"][2]["arguments"] == ["<node-1>"]


@pytest.mark.parametrize("domain", DOMAINS)
async def test_gold_plans_score_one_from_end_to_end(domain: str, endpoint: FakeEndpoint, monkeypatch: Any) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", endpoint.url)
    endpoint.models = MODELS
    live = environment("taskbench", data=str(DATA / f"data_{domain}"))
    assert isinstance(live, LiveEnvironment)
    endpoint.reply = gold_reply(rows(live))
    async with live:
        evaluation = await live.evaluate(each(samples=3))
    assert evaluation.score == 1 and evaluation.failures == 0
    assert all(result.subtask_scores == dict.fromkeys(STAGES, 1.0) for result in evaluation.results)
    usage = evaluation.usage["parameter_prediction"]
    assert usage.samples == 30
    assert {body["temperature"] for body in endpoint.requests} == {0.9, 0.3}  # drawn, and merged


def gold_reply(examples: Sequence[dict[str, Any]]) -> Callable[[Sequence[dict[str, str]], int], str]:
    """Every stage and every merge is answered as the labels say, amid some chatter."""

    def reply(messages: Sequence[dict[str, str]], seed: int) -> str:
        prompt = messages[-1]["content"]
        asked = prompt.rpartition("Now this one:")[2]
        row = next(row for row in examples if f"request: {row['request']}" in asked)
        if '{"task_steps": ["Step 1: ...' in prompt:
            answer: dict[str, Any] = {"task_steps": row["steps"]}
        elif "Fill in the arguments" in prompt:
            answer = {"task_nodes": row["nodes"]}
        else:
            answer = {"task_nodes": [{"task": n["task"]} for n in row["nodes"]], "task_links": row["links"]}
        return f"Here is the plan {seed}:\n```json\n{json.dumps(answer)}\n```"

    return reply


async def test_one_sample_is_not_merged_and_what_is_no_plan_scores_zero(
    endpoint: FakeEndpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", endpoint.url)
    endpoint.models = MODELS
    live = taskbench(str(DATA / "data_dailylifeapis"))
    gold = gold_reply(rows(live))
    endpoint.reply = lambda messages, seed: (
        "No idea." if "Wake me at 05:50." in messages[-1]["content"] else gold(messages, seed)
    )
    async with live:
        evaluation = await live.evaluate(each())
    assert evaluation.score == 0.9 and evaluation.failures == 1
    assert evaluation.results[0].error == "subtask 'decomposition': none of 1 samples could be parsed"
    assert evaluation.usage["decomposition"].unparsable == 1
    assert {body["temperature"] for body in endpoint.requests} == {0.9}


async def test_samples_are_merged_by_the_stages_own_model(
    endpoint: FakeEndpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", endpoint.url)
    endpoint.models = MODELS
    live = taskbench(str(DATA / "data_multimedia"))
    endpoint.reply = gold_reply(rows(live))
    async with live:
        await live.evaluate(each("Llama-3.1-70B", 2), live.examples[:1])
    merging = [body for body in endpoint.requests if body["temperature"] == 0.3]
    assert [body["model"] for body in merging] == [MODELS[1]] * 3
    assert all("[2] {" in body["messages"][-1]["content"] for body in merging)


def test_costs_are_the_papers_and_merging_is_paid_for_elsewhere() -> None:
    live = taskbench(str(DATA / "data_dailylifeapis"))
    space = SearchSpace(live.pipeline, PaperCost(), 1978)
    assert space.cost(each("Llama-3.1-70B")) == pytest.approx(1977.33, abs=0.01)
    assert space.cost(each("Llama-3.1-8B")) == pytest.approx(220.67, abs=0.01)
    assert space.size == 176_478  # the paper's space with 1 to 100 samples
    assert live.default_budget is not None and live.default_budget.amount == 1978
    stage = live.pipeline.subtask("parameter_prediction")
    one, two, three = FlopsCost().cost(stage, stage.models[0], np.array([1, 2, 3]))
    assert two - one > 2 * (three - two)  # from two samples on they are merged


def plan(*nodes: tuple[str, list[Any]], links: Sequence[tuple[str, str]] = ()) -> dict[str, Any]:
    calls = [{"task": tool, "arguments": arguments} for tool, arguments in nodes]
    ordered = [{"source": source, "target": target} for source, target in links]
    return {"task_nodes": calls, "task_links": ordered, "nodes": calls, "links": ordered}


GOLD = plan(("a", ["x", "<node-1>"]), ("b", ["y"]), links=[("a", "b"), ("b", "c")])


@pytest.mark.parametrize(
    ("predicted", "node", "argument", "link"),
    [
        (GOLD, 1, 1, 1),
        (plan(("a", ["x"])), 2 / 3, 2 / 4, 0),
        (plan(("a", ["y"]), ("b", ["x"])), 1, 0, 0),  # the right values under the wrong tools
        (plan(("a", ["x"]), ("a", ["x"]), links=[("a", "b")]), 2 / 4, 2 / 5, 2 / 3),  # repeated: counted once as common
        (plan(("c", []), links=[("b", "a")]), 0, 0, 0),  # a link has a direction
        (plan(("b", ["y", "z"]), ("a", ["<node-0>", "x"]), links=[("b", "c"), ("a", "b")]), 1, 4 / 7, 1),
    ],
)
def test_node_argument_and_link_f1_by_hand(predicted: Any, node: float, argument: float, link: float) -> None:
    assert node_f1()(predicted, GOLD) == pytest.approx(node)
    assert argument_f1()(predicted, GOLD) == pytest.approx(argument)
    assert link_f1(predicted, GOLD) == pytest.approx(link)


def test_named_arguments_match_by_name_and_exact_value_whatever_the_order_of_keys() -> None:
    gold = plan(("t", [{"name": "day", "value": "3 May"}, {"name": "n", "value": "2"}]))
    same = plan(("t", [{"value": "3 May", "name": "day"}, {"name": "n", "value": 2}]))
    assert argument_f1()(same, gold) == 0.5  # the number 2 is not the text "2"


def test_nothing_to_list_and_nothing_listed_is_right() -> None:
    assert argument_f1()(plan(("a", [])), plan(("a", []))) == 1 and link_f1(plan(), plan()) == 1


def test_underscores_are_spaces_where_outputs_feed_inputs() -> None:
    predicted, gold = plan(("Text_to_Image", ["x"])), plan(("Text to Image", ["x"]))
    assert node_f1()(predicted, gold) == 0 and argument_f1()(predicted, gold) == 0
    assert node_f1(spaced=True)(predicted, gold) == 1 and argument_f1(spaced=True)(predicted, gold) == 1


names = st.lists(st.sampled_from("abcd"), unique=True)


@given(names, names)
def test_f1_of_lists_without_repetition_is_that_of_sets(predicted: list[str], gold: list[str]) -> None:
    metric = node_f1()(plan(*((name, []) for name in predicted)), plan(*((name, []) for name in gold)))
    common = len(set(predicted) & set(gold))
    precision, recall = common / max(len(predicted), 1), common / max(len(gold), 1)
    expected = 2 * precision * recall / (precision + recall) if common else float(not predicted and not gold)
    assert metric == pytest.approx(expected)


def test_step_rouge_l_by_hand() -> None:
    example = {"steps": ["Step 1: Translate the texts", "Step 2: Read"]}
    # Stemmed gold: step 1 translat the text step 2 read (8); predicted: step 1 translat a text (5); common: 4.
    score = step_rouge_l()({"task_steps": ["Step 1: translating a text"]}, example)
    assert score == pytest.approx(2 * (4 / 5) * (4 / 8) / (4 / 5 + 4 / 8))
    assert step_rouge_l()({"task_steps": example["steps"]}, example) == 1


@given(st.lists(st.sampled_from(["red", "green", "blue", "grey"]), min_size=1, max_size=8), st.data())
def test_step_rouge_l_is_the_longest_common_subsequence(gold: list[str], data: st.DataObject) -> None:
    predicted = data.draw(st.lists(st.sampled_from(["red", "green", "blue", "grey"]), min_size=1, max_size=8))
    table = np.zeros((len(gold) + 1, len(predicted) + 1), dtype=int)
    for i, a in enumerate(gold):
        for j, b in enumerate(predicted):
            table[i + 1, j + 1] = table[i, j] + 1 if a == b else max(table[i, j + 1], table[i + 1, j])
    expected = 2 * table[-1, -1] / (len(gold) + len(predicted))
    assert step_rouge_l()({"task_steps": predicted}, {"steps": gold}) == pytest.approx(expected)


def damaged(path: Path, number: int, **fields: Any) -> None:
    """Replace fields of one line; None removes one."""
    lines = path.read_text().splitlines()
    row = {**json.loads(lines[number - 1]), **fields}
    lines[number - 1] = json.dumps({key: value for key, value in row.items() if value is not None})
    path.write_text("\n".join(lines))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"user_request": None}, r"line 3: field 'user_request' is missing"),
        ({"user_request": ""}, r"line 3: field 'user_request' must be a text that is not empty"),
        ({"task_steps": None}, r"line 3: field 'task_steps' is missing"),
        ({"task_steps": "Step 1"}, r"line 3: field 'task_steps' holds a text that is not JSON"),
        ({"task_steps": []}, r"line 3: field 'task_steps' is empty"),
        ({"task_nodes": None}, r"line 3: field 'task_nodes' is missing"),
        ({"task_nodes": []}, r"line 3: field 'task_nodes' is empty"),
        ({"task_nodes": [{"arguments": []}]}, r"line 3: field 'task_nodes\[0\]\.task' is wrong: Field required"),
        ({"task_nodes": [{"task": "fly"}]}, r"line 3: field 'task_nodes' names the tool 'fly', which is not in the"),
        ({"task_links": [{"source": "set_alarm", "target": "fly"}]}, r"field 'task_links' names the tool 'fly'"),
        ({"task_links": 7}, r"line 3: field 'task_links' must be a list"),
    ],
)
def test_a_malformed_example_is_named_by_file_line_and_field(
    copy: Callable[[str], Path], fields: dict[str, Any], message: str
) -> None:
    path = copy("dailylifeapis") / "data.json"
    damaged(path, 3, **fields)
    with pytest.raises(ConfigError, match=f"data.json, {message}" if message.startswith("line") else message):
        taskbench(str(path))


def test_missing_or_disagreeing_tool_files_are_one_sentence(copy: Callable[[str], Path]) -> None:
    folder = copy("multimedia")
    graph = json.loads((folder / "graph_desc.json").read_text())
    (folder / "graph_desc.json").write_text(json.dumps({"nodes": graph["nodes"][1:]}))
    with pytest.raises(ConfigError, match="tool 'Video-to-Audio' is in one of .* alone"):
        taskbench(str(folder))
    (folder / "graph_desc.json").write_text("[]")
    with pytest.raises(ConfigError, match="graph_desc.json is not a tool file"):
        taskbench(str(folder))
    (folder / "tool_desc.json").write_text('{"nodes": [{"id": "x"}]}')
    with pytest.raises(ConfigError, match="tool_desc.json: a tool lacks a field: 'desc'|'input-type'"):
        taskbench(str(folder))
    (folder / "tool_desc.json").unlink()
    with pytest.raises(ConfigError, match="there is no .*tool_desc.json': TaskBench publishes"):
        taskbench(str(folder))


def test_no_data_and_wrong_data_are_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="brings no examples: give --data"):
        taskbench()
    with pytest.raises(ConfigError, match="holds no data.json"):
        taskbench(str(tmp_path))
    for name in ("nowhere", "nowhere/data.json"):
        with pytest.raises(ConfigError, match=f"there is no file or folder '{name}'"):
            taskbench(name)
    with pytest.raises(ConfigError, match="no domain 'cooking'; it has dailylifeapis"):
        taskbench("microsoft/Taskbench:cooking")


def test_a_hub_id_brings_the_folder_of_a_domain(monkeypatch: pytest.MonkeyPatch) -> None:
    hub = pytest.importorskip("huggingface_hub")
    asked: list[Any] = []

    def download(name: str, **options: Any) -> str:
        asked.append((name, options["allow_patterns"]))
        return str(DATA)

    monkeypatch.setattr(hub, "snapshot_download", download)
    assert len(taskbench("microsoft/Taskbench:huggingface").examples) == 10
    assert asked == [("microsoft/Taskbench", "data_huggingface/*.json")]


@pytest.mark.skipif(not (SAMPLES / "taskbench_tools").exists(), reason="the public samples are not here")
@pytest.mark.parametrize("domain", DOMAINS)
def test_the_shared_samples_are_read_and_their_labels_score_one(domain: str, tmp_path: Path) -> None:
    shutil.copy(SAMPLES / f"taskbench_{domain}.jsonl", tmp_path / "data.jsonl")
    for name in ("tool_desc.json", "graph_desc.json"):
        shutil.copy(SAMPLES / "taskbench_tools" / f"data_{domain}" / name, tmp_path)
    live = taskbench(str(tmp_path))
    metric = live.pipeline.metric
    examples = rows(live)
    assert len(examples) == {"dailylifeapis": 22, "multimedia": 20, "huggingface": 16}[domain]
    assert [metric({"task_nodes": row["nodes"]}, row) for row in examples] == [1.0] * len(examples)
    assert all(link_f1({"task_links": row["links"]}, row) == 1 for row in examples)
