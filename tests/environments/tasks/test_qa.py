"""The paper's four question-answering tasks: their files, their spaces, and their stages with scripted models."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from agenttts.environments import LiveEnvironment, environment
from agenttts.errors import ConfigError
from agenttts.pipeline import Message, Model
from agenttts.space import Budget, SearchSpace
from agenttts.space.allocation import Allocation
from agenttts.space.cost import cost_model
from agenttts.testing import ScriptedClient
from tests.environments.tasks.data import OWN, SAMPLES

TASKS = ("hotpotqa", "2wikimultihopqa", "cwq", "webqsp")
Row = dict[str, Any]


def task(name: str, data: Path | None = None) -> LiveEnvironment:
    found = environment(name, data=str(data or OWN / f"{name}.jsonl"))
    assert isinstance(found, LiveEnvironment)
    return found


def rows(name: str) -> list[Row]:
    return [json.loads(line) for line in (OWN / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()]


def examples(found: LiveEnvironment) -> list[Row]:
    return [dict(found.example(name)) for name in (*found.examples, *found.held_out)]


@pytest.mark.parametrize(("name", "budget", "size"), [
    ("hotpotqa", 929, 27_190), ("2wikimultihopqa", 929, 27_190), ("cwq", 521, 11_195), ("webqsp", 474, 10_815),
])  # fmt: skip
def test_the_space_within_the_papers_budget_is_the_papers(name: str, budget: float, size: int) -> None:
    found = task(name)
    assert found.default_budget == Budget(budget, "paper")
    space = SearchSpace(found.pipeline, cost_model("paper"), budget)
    assert space.size == size
    largest = Allocation({s.name: (s.models[-1].name, 1) for s in found.pipeline.subtasks})
    assert not space.faults(largest)
    for priced in ("flops", "usd"):
        assert SearchSpace(found.pipeline, cost_model(priced), 1e12).cost(largest) > 0


def test_aliases_of_the_file_beside_the_examples_are_right_too(tmp_path: Path) -> None:
    first, second, *_ = rows("2wikimultihopqa")
    path = tmp_path / "dev.json"
    path.write_text(json.dumps([{**first, "answer_id": "Q7"}, {**second, "answer_id": None}]))
    assert examples(task("2wikimultihopqa", path))[0]["answers"] == [first["answer"]]
    known = [
        {"Q_id": "Q7", "aliases": ["Pell"], "demonyms": ["Pellworthian"]},
        {"Q_id": "Q8", "aliases": [], "demonyms": []},
    ]
    (tmp_path / "id_aliases.json").write_text("\n".join(map(json.dumps, known)))
    with_aliases = [example["answers"] for example in examples(task("2wikimultihopqa", path))]
    assert with_aliases == [[first["answer"], "Pell", "Pellworthian"], [second["answer"]]]
    (tmp_path / "id_aliases.json").write_text('{"Q_id": "Q7", "aliases": "Pell", "demonyms": []}')
    with pytest.raises(ConfigError, match="id_aliases.json, line 1: field 'aliases' must be a list of texts"):
        task("2wikimultihopqa", path)


@pytest.mark.parametrize("name", TASKS)
def test_examples_are_numbered_candidates_with_gold_among_them(name: str) -> None:
    found = examples(task(name))
    assert len(found) == 10 and len({example["id"] for example in found}) == 10
    for example, row in zip(found, rows(name), strict=True):
        candidates = example["candidates"]
        assert len(set(candidates)) == len(candidates) > len(example["gold"])
        kept = [candidates[number - 1] for number in example["gold"]]
        if "context" in row:
            assert sorted({text.split(":")[0] for text in kept}) == sorted({t for t, _ in row["supporting_facts"]})
        else:
            assert sorted(kept) == sorted(f"<{h}, {r}, {t}>" for h, r, t in row["crucial_triples"])


def test_the_gold_stands_anywhere_and_the_same_in_every_run() -> None:
    first, second = examples(task("hotpotqa")), examples(task("hotpotqa"))
    assert first == second
    assert any(number > 8 for example in first for number in example["gold"])  # own paragraphs came first


def test_distractors_are_those_nearest_to_the_question() -> None:
    from agenttts.environments.tasks.hotpotqa import hotpotqa

    found = {e["id"]: e for e in examples(hotpotqa(str(OWN / "hotpotqa.jsonl"), candidates=12))}
    row = next(row for row in rows("hotpotqa") if row["_id"] == "own-hotpot-08")  # Ebb Bridge or Sound Bridge
    own = {title for title, _ in row["context"]}
    added = [t for t in found[row["_id"]]["candidates"] if t.split(":")[0] not in own]
    assert len(found[row["_id"]]["candidates"]) == 12 and len(added) == 12 - len(own)
    assert any("River Ebb" in text for text in added)


def test_the_authors_format_and_json_arrays_are_read(tmp_path: Path) -> None:
    chunks: list[Row] = [
        {"question": "Where?", "answers": ["Here", "here too"], "ctxs_candidate": ["a", "b", "c"]},
        {"_id": "x", "question": "Who?", "answer": "She", "ctxs_candidate": ["d", "e"]},
    ]
    chunks[0]["ctxs_gt"], chunks[1]["ctxs_gt"] = ["c", "a"], ["e"]
    (tmp_path / "chunks.json").write_text("\n " + json.dumps(chunks, indent=1))
    found = examples(task("2wikimultihopqa", tmp_path / "chunks.json"))
    assert [example["id"] for example in found] == ["1", "x"]
    assert found[0]["gold"] == [1, 3] and found[0]["answers"] == ["Here", "here too"]
    (tmp_path / "array.json").write_text(json.dumps(rows("hotpotqa")))
    assert task("hotpotqa", tmp_path / "array.json").fingerprint == task("hotpotqa").fingerprint


def test_the_hubs_columns_are_read(tmp_path: Path) -> None:
    columns = [
        {
            **row,
            "context": {"title": [t for t, _ in row["context"]], "sentences": [s for _, s in row["context"]]},
            "supporting_facts": {
                "title": [t for t, _ in row["supporting_facts"]],
                "sent_id": [n for _, n in row["supporting_facts"]],
            },
        }
        for row in rows("hotpotqa")
    ]
    (tmp_path / "hub.json").write_text(json.dumps(columns))
    assert examples(task("hotpotqa", tmp_path / "hub.json")) == examples(task("hotpotqa"))


def test_the_first_examples_are_searched_and_those_that_follow_held_out(tmp_path: Path) -> None:
    many = [{**row, "_id": f"{row['_id']}-{n}"} for n in range(6) for row in rows("hotpotqa")]
    (tmp_path / "many.jsonl").write_text("\n".join(map(json.dumps, many)))
    found = task("hotpotqa", tmp_path / "many.jsonl")
    assert (len(found.examples), len(found.held_out)) == (50, 10) and found.held_out[0] == "own-hotpot-01-5"


def without(field: str) -> Callable[[Row], Row]:
    return lambda row: {name: value for name, value in row.items() if name != field}


@pytest.mark.parametrize(("name", "change", "message"), [
    ("hotpotqa", without("answer"), "line 3: field 'answer' is missing; the example has _id, question"),
    ("hotpotqa", without("supporting_facts"), "line 3: field 'supporting_facts' is missing"),
    ("hotpotqa", lambda row: {**row, "supporting_facts": []}, "line 3: field 'supporting_facts' is empty"),
    ("hotpotqa", lambda row: {**row, "supporting_facts": [["Nowhere", 0]]}, "names 'Nowhere', which is no title"),
    ("hotpotqa", lambda row: {**row, "context": []}, "line 3: field 'context' is empty"),
    ("hotpotqa", lambda row: {**row, "context": ["text"]}, r"'context' must hold \[title, ...\] pairs, not 'text'"),
    ("hotpotqa", lambda row: {**row, "context": [["T", "text"]]}, "has no list of sentences under 'T'"),
    ("hotpotqa", lambda row: {**row, "context": {"title": ["a", "b"], "sentences": [["c"]]}}, "has 2 titles and 1 of"),
    ("hotpotqa", lambda row: {**row, "context": {"title": ["a"]}}, "line 3: field 'sentences' is missing"),
    ("hotpotqa", lambda row: {**row, "question": " "}, "'question' must be a text that is not empty"),
    ("2wikimultihopqa", lambda row: {**row, "ctxs_candidate": [], "ctxs_gt": ["a"]}, "'ctxs_candidate' is empty"),
    ("2wikimultihopqa", lambda row: {**row, "ctxs_candidate": ["a"]}, "field 'ctxs_gt' is missing"),
    ("2wikimultihopqa", lambda row: {**row, "ctxs_candidate": ["a"], "ctxs_gt": ["b"]}, "'ctxs_gt' has 'b', which is"),
    ("cwq", without("crucial_triples"), "line 3: field 'crucial_triples' is missing"),
    ("cwq", without("2hop_triples"), "line 3: field 'pool_triples' is missing"),
    ("cwq", lambda row: {**row, "crucial_triples": [["a", "b"]]}, r"must be a list of \[head, relation, tail\] texts"),
    ("cwq", lambda row: {**row, "crucial_triples": [], "2hop_triples": []}, "there is nothing to retrieve from"),
    ("webqsp", lambda row: {**row, "answer": "Venn"}, "line 3: field 'answer' must be a list of texts, not 'Venn'"),
    ("webqsp", lambda row: {**row, "answer": []}, "line 3: field 'answer' is empty"),
    ("webqsp", without("RawQuestion"), "line 3: field 'RawQuestion' is missing"),
    ("webqsp", lambda row: [row], "line 3: expected a JSON object, found list"),
])  # fmt: skip
def test_a_malformed_example_is_named_by_file_place_and_field(
    tmp_path: Path, name: str, change: Callable[[Row], Any], message: str
) -> None:
    broken: list[Any] = rows(name)
    broken[2] = change(broken[2])
    path = tmp_path / "broken.jsonl"
    path.write_text("\n".join(map(json.dumps, broken)))
    with pytest.raises(ConfigError, match=message) as error:
        task(name, path)
    assert str(path) in str(error.value)


def test_data_that_are_not_there_are_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "empty.json").write_text("[]")
    (tmp_path / "broken.json").write_text('[{"a": 1},')
    (tmp_path / "mixed.json").write_text('[{"ctxs_gt": ["a"], "ctxs_candidate": ["a"]}, 3]')
    for data, message in [
        (None, "environment 'cwq' brings no examples: give --data, a path or a Hub id"),
        (str(tmp_path / "none.jsonl"), "cannot read the examples file"),
        (str(tmp_path / "empty.json"), "there is no example in it"),
        (str(tmp_path / "broken.json"), "line 1: not valid JSON"),
        (str(tmp_path / "mixed.json"), "item 2: expected a JSON object, found int"),
    ]:
        with pytest.raises(ConfigError, match=message):
            environment("cwq", data=data)


QUESTION = "Which is longer, Ebb Bridge or Sound Bridge?"


def scripted(found: LiveEnvironment, reply: Callable[[str, Sequence[Message], int], str]) -> LiveEnvironment:
    found.client = ScriptedClient(lambda model, messages, position: reply(model.name, messages, position))
    found.examples = tuple(name for name in found.examples if name == "own-hotpot-08")
    return found


ALLOCATION = Allocation({"retrieve": ("Qwen2.5-7B", 3), "answer": ("Llama-3.2-3B", 2)})


async def test_kept_candidates_alone_reach_the_answer_and_its_fusion() -> None:
    asked: list[str] = []
    found = task("hotpotqa")
    gold = next(e["gold"] for e in examples(found) if e["id"] == "own-hotpot-08")

    def reply(model: str, messages: Sequence[Message], position: int) -> str:
        prompt = messages[-1]["content"]
        asked.append(prompt)
        if "Which of these candidates" in prompt:
            return f"[{gold[0]}] [{gold[1]}]" if position < 2 else "[1] [2] [99]"
        if "Candidates:" in prompt:
            return "Weighing both.\nAnswer: The Sound Bridge."
        return f"Reason {position}.\nAnswer: {'Sound' if position else 'Ebb'} Bridge"

    evaluation = await scripted(found, reply).evaluate(ALLOCATION)
    (result,) = evaluation.results
    assert result.score == 1 and result.subtask_scores == {"retrieve": 1.0, "answer": 1.0} and result.error is None
    answering, fusing = asked[3], asked[-1]
    assert QUESTION in answering and "[2] " in answering and "[3] " not in answering
    assert "Ebb Bridge: Ebb Bridge crosses" in answering and "Sound Bridge: Sound Bridge joins" in answering
    assert "Reason 0." in fusing and "Reason 1." in fusing and fusing.count("References:") == 1


async def test_unusable_samples_are_counted_and_score_nothing() -> None:
    found = scripted(task("hotpotqa"), lambda model, messages, position: "I cannot tell.")
    evaluation = await found.evaluate(ALLOCATION)
    (result,) = evaluation.results
    assert result.score == 0 and "none of 2 samples could be parsed" in (result.error or "")
    assert result.subtask_scores == {"retrieve": 0.0} and evaluation.failures == 1
    assert evaluation.usage["retrieve"].unparsable == 3 and evaluation.usage["answer"].unparsable == 2


async def test_a_containing_answer_is_no_exact_match() -> None:
    found = scripted(task("hotpotqa"), lambda model, messages, position: "[1]\nAnswer: Ebb Bridge or Sound Bridge")
    single = Allocation({"retrieve": ("Qwen2.5-7B", 1), "answer": ("Llama-3.2-3B", 1)})
    (result,) = (await found.evaluate(single)).results
    assert result.score == 0 and 0 < result.subtask_scores["answer"] < 1


@pytest.mark.parametrize(("name", "file", "counts"), [
    ("hotpotqa", "hotpotqa", (50, 49)), ("hotpotqa", "hotpotqa_100chunks", (50, 49)),
    ("2wikimultihopqa", "2wikimultihopqa", (50, 70)), ("2wikimultihopqa", "2wikimultihopqa_100chunks", (50, 0)),
    ("cwq", "cwq", (50, 0)), ("cwq", "cwq_extra", (50, 41)), ("webqsp", "webqsp", (50, 70)),
])  # fmt: skip
def test_samples_of_the_public_datasets_are_read(name: str, file: str, counts: tuple[int, int]) -> None:
    path = SAMPLES / f"{file}.jsonl"
    if not path.is_file():
        pytest.skip("no samples of the public datasets: set AGENTTTS_SHARED_DATA to their folder")
    found = task(name, path)
    assert (len(found.examples), len(found.held_out)) == counts
    for example in examples(found):
        assert example["candidates"] and example["answers"] and (example["gold"] or name == "cwq")
        assert len(example["candidates"]) <= 104 or len(example["candidates"]) <= 100 + len(example["gold"])
    if file in ("hotpotqa", "2wikimultihopqa"):
        assert all(len(example["candidates"]) == 100 for example in examples(found))


def test_the_models_are_the_papers() -> None:
    sizes = {name: task(name).pipeline.sizes for name in TASKS}
    assert list(sizes["hotpotqa"]["retrieve"].values()) == [7e9, 32e9, 72e9]
    assert list(sizes["hotpotqa"]["answer"].values()) == [3e9, 8e9, 70e9]
    assert sizes["cwq"] == sizes["webqsp"] and list(sizes["cwq"]["retrieve"].values()) == [7e9, 72e9]
    models: list[Model] = [model for model in task("hotpotqa").pipeline.models]
    assert all(model.layers and model.hidden_size and model.usd_per_million_prompt_tokens for model in models)


def test_a_hub_dataset_is_read_where_there_is_no_such_file(monkeypatch: pytest.MonkeyPatch) -> None:
    datasets = pytest.importorskip("datasets", reason="datasets is not installed: pip install 'agenttts[tasks]'")
    asked: list[Any] = []

    def load_dataset(name: str, config: str | None, *, split: str) -> list[Row]:
        asked.append((name, config, split))
        if name == "own/broken":
            raise RuntimeError("the Hub\nsays no")
        return rows("hotpotqa")

    # The Hub itself cannot be had in a test.
    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    monkeypatch.setattr(datasets, "get_dataset_split_names", lambda name, config: ["train", "validation"])
    assert len(environment("hotpotqa", data="own/hotpot:distractor").examples) == 10
    assert len(environment("hotpotqa", data="own/hotpot:distractor:train").examples) == 10
    assert asked == [("own/hotpot", "distractor", "validation"), ("own/hotpot", "distractor", "train")]
    with pytest.raises(
        ConfigError, match="'own/broken' is no file, and cannot be loaded from the Hub: the Hub says no"
    ):
        environment("hotpotqa", data="own/broken")
