"""Options of a stage, from the declaration to the deployed answer."""

from __future__ import annotations

import json
import random
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

import agenttts as at
from agenttts import report
from agenttts.db import Store
from agenttts.pipeline import Message, Model
from agenttts.proposals.dialogue import task
from agenttts.proposals.reading import read_candidates
from agenttts.searching import SearchResult
from agenttts.searching.recording import record
from agenttts.testing import ScriptedClient
from tests.endpoint import FakeEndpoint

SMALL, LARGE = at.Model("small", 1e6), at.Model("large", 8e6)
CHANCES = {"5": 0.2, "20": 0.9, "40": 0.6}
BEST = "passages=20,style=short"


def subtask(**fields: Any) -> at.Subtask:
    """A stage with two options: 20 passages are best, and a short style helps."""
    given: dict[str, Any] = {
        "options": {"passages": (5, 20, 40), "style": ("long", "short")},
        "prompt_tokens": lambda options: 10 + options["passages"],
        "completion_tokens": 5,
        "max_samples": 6,
        **fields,
    }
    return at.Subtask("answer", (SMALL, LARGE), "Question {{ id }}: {{ passages }} passages, {{ style }}", **given)


def environment(**fields: Any) -> at.LiveEnvironment:
    def reply(model: Model, messages: Sequence[Message], position: int) -> str:
        asked = str(messages[-1]["content"])
        chance = CHANCES[asked.split()[2]] - 0.2 * asked.endswith("long") + 0.1 * (model.name == "large")
        luck = random.Random(f"{model.name} {asked} {position}")
        return "right" if luck.random() < chance else f"wrong {luck.randrange(9)}"

    pipeline = at.Pipeline("rag", (subtask(**fields),), metric=lambda output, example: float(output == "right"))
    rows = [{"id": str(i)} for i in range(50)]
    return at.LiveEnvironment(pipeline, rows[:30], held_out=rows[30:], client=ScriptedClient(reply))


def space_of(used: at.Environment, budget: float = 800) -> at.SearchSpace:
    return at.SearchSpace(used.pipeline, at.cost_model("flops"), budget)


async def searched(store: Store, method: str, used: at.Environment, trials: int = 14) -> SearchResult:
    planner = at.searcher(method, llm="none")
    limits = at.Limits(trials=trials)
    return await at.search(used, planner, space_of(used), store, study_name="study", limits=limits)


@pytest.mark.parametrize("method", ["agent", "random", "grid", "tpe", "evolution", "coordinate", "halving"])
async def test_every_method_turns_options(store: Store, method: str) -> None:
    tried = {
        trial.allocation["answer"].options for trial in (await searched(store, method, environment())).archive.trials
    }
    assert len(tried) > 1
    if method == "agent":
        assert {"passages=20", "passages=40", "style=short", BEST} <= tried


async def test_what_was_found_is_resumed_told_and_deployed(store: Store, tmp_path: Path) -> None:
    found = await searched(store, "agent", environment())
    assert found.best.allocation["answer"].options == BEST
    assert (await searched(store, "agent", environment())).archive.trials == found.archive.trials
    evidence = found.archive.guidelines[-1].evidence
    assert isinstance(evidence, dict)
    assert {each["question"]: each["ways"][0] for each in evidence["ways"]} == {"passages": "20", "style": "short"}
    assert any("passages of answer: 20: " in step.text for step in store.steps(found.study))
    (findings,) = report.read_findings(store, ["study"])
    assert f"with {BEST}" in report.report_html([findings])
    assert set(report.trials_frame(findings)["answer.options"]) >= {"", BEST}
    allocation = report.recommendation(store, found.study)
    assert allocation["allocation"]["answer"]["options"] == {"passages": 20, "style": "short"}
    (tmp_path / "allocation.yaml").write_text(yaml.safe_dump(allocation))
    deployed = at.deployed(tmp_path / "allocation.yaml", environment())
    assert deployed.allocation == found.best.allocation
    assert (await deployed.answer({"id": "77"})).output == "right"


async def test_a_table_keeps_options(tmp_path: Path) -> None:
    used = environment()
    allocations = space_of(used).on_levels([2])
    await record(used, allocations, str(tmp_path / "s.db"), tmp_path / "scores.csv")
    recorded = at.RecordedEnvironment(used.pipeline, tmp_path / "scores.csv")
    assert set(space_of(recorded).enumerate()) == set(allocations)
    for allocation in allocations[::3]:
        assert (await recorded.evaluate(allocation)).score == (await used.evaluate(allocation)).score


async def test_a_function_reads_them_and_the_sampling_takes_its_own() -> None:
    def prompt(given: at.SubtaskInput) -> str:
        return " ".join(given.example["words"][: given.options["words"]])

    with FakeEndpoint() as endpoint:
        model = at.Model("small", 1e6, base_url=endpoint.url)
        options = {"words": (1, 3), "temperature": (0.9, 0.2), "max_tokens": (8, 64)}
        stage = at.Subtask("s", (model,), prompt, options=options, max_samples=2)
        used = at.LiveEnvironment(
            at.Pipeline("p", (stage,), metric=lambda *_: 1.0), [{"id": "1", "words": ["a", "b", "c"]}]
        )
        first, other = at.Choice("small", 1), at.Choice("small", 1, options="max_tokens=64,temperature=0.2,words=3")
        async with used:
            for choice in (first, other):
                await used.evaluate(at.Allocation({"s": choice}))
        asked = [
            (each["messages"][-1]["content"], each["temperature"], each["max_tokens"]) for each in endpoint.requests
        ]
    assert asked == [("a", 0.9, 8), ("a b c", 0.2, 64)]


async def test_a_function_pipeline_reads_them() -> None:
    async def run(example: at.Example, steps: Mapping[str, Any]) -> str:
        step = steps["s"]
        return str(await step.ask(f"{example['id']} {step.input.options['passages']}"))

    stage = at.Subtask("s", (SMALL,), options={"passages": (5, 20)}, max_samples=2)
    client = ScriptedClient(lambda model, messages, position: str(messages[-1]["content"]))
    pipeline = at.Pipeline("p", (stage,), metric=lambda output, _: float(output == "1 20"), run=run)
    used = at.LiveEnvironment(pipeline, [{"id": "1"}], client=client)
    scores = [(await used.evaluate(each)).score for each in space_of(used, 3000).on_levels([1])]
    assert scores == [0.0, 1.0]


def test_each_setting_has_its_own_price() -> None:
    space, cost = space_of(environment()), {}
    for options in ("", "passages=20", "passages=40,style=short"):
        cost[options] = space.cost(at.Allocation({"answer": at.Choice("small", 3, options=options)}))
    assert cost == {
        "": pytest.approx(2 * (15 + 15)),
        "passages=20": pytest.approx(2 * (30 + 15)),
        "passages=40,style=short": pytest.approx(2 * (50 + 15)),
    }
    own = subtask(model_lengths={"small": (7, 3), "small with passages=40": (70, 3)})
    assert own.lengths(SMALL)[:2] == (7, 3)
    assert own.lengths(SMALL, {"passages": 40, "style": "long"})[:2] == (70, 3)
    assert own.lengths(LARGE, {"passages": 40, "style": "long"})[:2] == (50, 5)


async def test_longer_lengths_are_learned_for_each_setting(store: Store) -> None:
    stage = at.Subtask(
        "s", (SMALL,), "{{ 'word ' * passages }}", options={"passages": (5, 100)}, prompt_tokens=1, completion_tokens=1,
        max_samples=4,
    )  # fmt: skip
    pipeline = at.Pipeline("p", (stage,), metric=lambda *_: 1.0)
    client = ScriptedClient(lambda model, messages, position: "a b c")
    used = at.LiveEnvironment(pipeline, [{"id": str(i)} for i in range(8)], client=client)
    trials = (await searched(store, "random", used, trials=8)).archive.trials
    assert {trial.allocation["s"].options for trial in trials} == {"", "passages=100"}
    for trial in trials:
        usage, samples = trial.evaluation.usage["s"], trial.allocation["s"].samples
        assert usage.prompt_tokens > (90 if trial.allocation["s"].options else 4)
        assert trial.cost == pytest.approx(2 * (usage.prompt_tokens + samples * usage.completion_tokens))


def test_a_planner_is_told_of_them_and_names_them() -> None:
    space = space_of(environment())
    assert "option 'passages': 5 (40 MFLOP), 20 (70 MFLOP), 40 (110 MFLOP)" in task(space)
    chosen: list[object] = [
        {"model": "small", "samples": 2, "options": {"style": "short", "passages": 20}},
        {"model": f"small with {BEST}", "samples": 2, "options": None},
        {"model": "small", "samples": 2, "style": "short", "Passages": "20"},
        {f"small with {BEST}": 2},
        f"small x2 with {BEST}",
    ]
    for each in chosen:
        (proposal,), _ = read_candidates(json.dumps({"candidates": [{"allocation": {"answer": each}}]}), space)
        assert proposal.allocation == at.Allocation({"answer": at.Choice("small", 2, options=BEST)})
        assert proposal.allocation in space


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ("passages=7", "has no passages=7; choose one of 5, 20, 40"),
        ("passage=20", "has no option 'passage'; it has passages, style"),
        ("passages=5", "passages=5 is the first of subtask 'answer': leave it out"),
        ("style=short,passages=20", f"write its options as '{BEST}'"),
    ],
)
def test_what_is_no_setting_is_named(options: str, said: str) -> None:
    (fault,) = space_of(environment()).faults(at.Allocation({"answer": at.Choice("small", 1, options=options)}))
    assert said in fault


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"options": {"passages": ()}}, "needs one or more values that differ"),
        ({"options": {"passages": (5, "5")}}, "needs one or more values that differ"),
        ({"options": {"passages": 5}}, "must be a list of numbers, truth values or short texts, not 5"),
        ({"options": {"passages": (None,)}}, "must be a list of numbers, truth values or short texts, not None"),
        ({"options": {"a b": (1, 2)}}, "must be named with letters, digits and underscores"),
        ({"options": {"style": ("think first", "-")}}, "cannot have the value 'think first'"),
        ({"options": {"temperature": (0.1, "hot")}}, "temperature must be a number >= 0"),
        ({"options": {"passages": (5, 20)}, "prompt_tokens": lambda options: -1}, "must be a positive number, not -1"),
        ({"model_lengths": {"small with passages=7": (1, 1)}}, "has no passages=7"),
    ],
)
def test_what_is_no_option_is_named(fields: dict[str, Any], said: str) -> None:
    with pytest.raises(at.ConfigError, match=said.replace("(", r"\(")):
        subtask(**fields)


def test_a_name_stands_for_one_thing() -> None:
    stage = at.Subtask("s", (SMALL,), "{{ passages }}", options={"passages": (1, 2)})
    with pytest.raises(at.ConfigError, match="is the name of a field of the examples, too"):
        at.LiveEnvironment(at.Pipeline("p", (stage,), metric=lambda *_: 1.0), [{"id": "1", "passages": "x"}])
    with pytest.raises(at.ConfigError, match="its option 'first' is named like a subtask"):
        at.Pipeline(
            "p", (at.Subtask("first", (SMALL,), "x"), at.Subtask("s", (SMALL,), "x", options={"first": (1, 2)})),
            metric=lambda *_: 1.0,
        )  # fmt: skip


def test_options_decide_scores_and_a_stage_without_any_is_the_one_it_was() -> None:
    def pipeline(**fields: Any) -> at.Pipeline:
        return at.Pipeline("p", (at.Subtask("s", (SMALL,), "x", **fields),), metric=at.metrics.exact_match("gold"))

    assert pipeline().fingerprint == pipeline(options={}).fingerprint
    assert pipeline(options={"a": (1, 2)}).fingerprint not in (
        pipeline().fingerprint,
        pipeline(options={"a": (1, 3)}).fingerprint,
    )


TEXTS = st.text(
    st.characters(min_codepoint=33, exclude_characters=" *;@?=,", exclude_categories=["Cs", "Z", "C"]), min_size=1
)
NAMES = st.from_regex(r"[a-z_][a-z0-9_]{0,8}", fullmatch=True)
VALUES = st.lists(st.one_of(st.integers(), st.booleans(), st.floats(allow_nan=False, allow_infinity=False), TEXTS),
                  min_size=1, max_size=3, unique_by=str)  # fmt: skip


@given(st.dictionaries(NAMES, VALUES, max_size=3))
def test_whatever_is_an_option_survives_every_way_to_write_an_allocation(options: dict[str, list[Any]]) -> None:
    try:
        stage = at.Subtask("s", (SMALL,), "x", options=options)
    except at.ConfigError as error:
        assert "sampling" in str(error)
        return
    for pairing in stage.pairings:
        allocation = at.Allocation({"s": at.Choice.of(pairing.name, 2)})
        assert stage.pairing(allocation["s"].pairing).options == pairing.options
        assert at.Allocation.from_key(allocation.key) == allocation
        assert at.Allocation.from_dict(yaml.safe_load(yaml.safe_dump(allocation.as_dict()))) == allocation
