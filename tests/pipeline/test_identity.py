"""What our own functions and values are called in fingerprints: changing this table ends every study that uses it."""

from __future__ import annotations

import inspect
import pkgutil
from collections.abc import Iterator
from dataclasses import fields, is_dataclass, replace
from functools import wraps
from importlib import import_module
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import agenttts as at
from agenttts import aggregators, metrics, parsers
from agenttts.environments.tasks import chatdev, cwq, hotpotqa, minihop, webqsp
from agenttts.environments.tasks.taskbench.pipeline import pipeline as taskbench
from agenttts.environments.tasks.taskbench.tools import Tool, ToolGraph
from agenttts.errors import ConfigError
from agenttts.pipeline import Model, Pipeline, Sampling, Subtask, SubtaskInput, SubtaskRun
from agenttts.pipeline.fingerprint import DECLARED, Identity, describe, identified, uncovered
from agenttts.pipeline.fingerprint.declared import identity_of

VERSIONS = {
    "adapters.langgraph.step_model": 1,
    "adapters.openai.async_client": 1,
    "adapters.openai.client": 1,
    "aggregators.best_of": 1,
    "aggregators.first": 1,
    "aggregators.fuse": 1,
    "aggregators.id_vote": 1,
    "aggregators.majority_vote": 1,
    "command": 1,
    "metrics.equal": 2,
    "metrics.exact_match": 6,
    "metrics.normalise": 6,
    "metrics.set_f1": 2,
    "metrics.token_f1": 6,
    "model": 1,
    "operators.adaptive_vote": 2,
    "operators.best_of": 1,
    "operators.cascade": 2,
    "operators.listwise": 1,
    "operators.mix": 1,
    "operators.refine": 2,
    "operators.revise": 1,
    "operators.step_search": 1,
    "operators.tree": 2,
    "operators.verifier": 2,
    "operators.vote": 1,
    "operators.weighted_vote": 1,
    "operators.window_vote": 2,
    "parsers.ids": 4,
    "parsers.json_object": 2,
    "parsers.number": 6,
    "parsers.tagged": 3,
    "parsers.text": 1,
    "pipeline": 1,
    "sampling": 1,
    "subtask": 1,
    "subtask_input": 1,
    "synthetic.never": 1,
    "tasks.chatdev.coding": 1,
    "tasks.chatdev.completeness": 1,
    "tasks.chatdev.consistency": 1,
    "tasks.chatdev.dynamic_testing": 1,
    "tasks.chatdev.executability": 1,
    "tasks.chatdev.fuse_turns": 1,
    "tasks.chatdev.quality": 1,
    "tasks.chatdev.static_testing": 1,
    "tasks.minihop.all_needed": 1,
    "tasks.minihop.answer_prompt": 1,
    "tasks.minihop.number": 1,
    "tasks.minihop.quoted": 1,
    "tasks.minihop.retrieve_prompt": 1,
    "tasks.minihop.union": 1,
    "tasks.minihop.verdict_prompt": 1,
    "tasks.qa.answer_f1": 5,
    "tasks.qa.answer_prompt": 1,
    "tasks.qa.concluded": 3,
    "tasks.qa.exact_match": 5,
    "tasks.taskbench.argument_f1": 1,
    "tasks.taskbench.arguments": 2,
    "tasks.taskbench.decomposition": 1,
    "tasks.taskbench.link_f1": 1,
    "tasks.taskbench.node_f1": 1,
    "tasks.taskbench.parameter_prediction": 1,
    "tasks.taskbench.step_rouge_l": 1,
    "tasks.taskbench.steps": 2,
    "tasks.taskbench.tool": 1,
    "tasks.taskbench.tool_graph": 1,
    "tasks.taskbench.tool_selection": 1,
    "tasks.taskbench.tools": 2,
}
"""Raise a version when the behaviour changes, and only then."""

FIELDS = {
    aggregators.BestOf: {"instruction", "sampling"},
    aggregators.First: set(),
    aggregators.Fuse: {"instruction", "sampling"},
    aggregators.IdVote: set(),
    aggregators.MajorityVote: set(),
    Model: {"name", "served_name", "revision"},
    Pipeline: {"subtasks", "metric", "run"},
    Sampling: {"temperature", "top_p", "max_tokens", "stop", "extra"},
    Subtask: {
        *("name", "models", "prompt", "system", "parser", "aggregator", "default", "metric", "run", "sampling"),
    },
    SubtaskInput: {"example", "inputs"},
    Tool: {"name", "description", "takes", "gives"},
    ToolGraph: {"tools", "temporal"},
}
"""The fields by which our values count."""

_OPTIONAL = {"agenttts.adapters.dspy"}
"""Modules whose libraries not every machine has."""


def modules() -> Iterator[Any]:
    for found in pkgutil.walk_packages(at.__path__, "agenttts."):
        inside = ("agenttts.environments.tasks", "agenttts.adapters")
        # The sandbox's modules are programs.
        if found.name.startswith(inside) and found.name not in _OPTIONAL and ".sandbox" not in found.name:
            yield import_module(found.name)
    yield from map(
        import_module,
        (
            "agenttts.pipeline.parsers",
            "agenttts.pipeline.metrics",
            "agenttts.pipeline.aggregators",
            "agenttts.pipeline",
        ),
    )
    yield import_module("agenttts.environments.synthetic")


def parts_of_pipelines() -> Iterator[Any]:
    """Our functions and classes that a pipeline can hold, by what they take or give."""
    for module in modules():
        for name, value in vars(module).items():
            if getattr(value, "__module__", None) != module.__name__:
                continue
            if inspect.isclass(value) and not getattr(value, "_is_protocol", False) and hasattr(value, "aggregate"):
                yield name, value
            elif inspect.isfunction(value) and module.__name__ not in _OPTIONAL and _is_part(value):
                yield name, value


def _is_part(function: Any) -> bool:
    """Whether it is a prompt, a parser, a metric or a coroutine, or makes one."""
    takes = [str(each.annotation) for each in inspect.signature(function).parameters.values()]
    gives = str(inspect.signature(function).return_annotation)
    is_metric = len(takes) == 2 and takes[1] == "Example" and gives == "float"
    is_parser = takes[:1] == ["str"] and takes[-1:] == ["SubtaskInput"]
    is_prompt = takes[-1:] == ["SubtaskInput"] and takes[0] != "type[BaseModel]" and gives in ("str", "list[Message]")
    is_stage = takes == ["SubtaskRun"]
    return is_metric or is_parser or is_prompt or is_stage or gives in ("Parser", "Metric")


def test_names_and_versions_are_pinned() -> None:
    for _ in modules():
        pass
    found = {
        name: each.version for name, each in DECLARED.items() if "dspy" not in name and not name.startswith("test.")
    }
    assert found == VERSIONS


def test_whatever_of_ours_a_pipeline_can_hold_is_declared() -> None:
    # Chatdev's turns parse with functions that never stand in a pipeline.
    inner = {"_files", "_words"}
    found = dict(parts_of_pipelines())
    assert {"number", "exact_match", "Fuse", "_answer_prompt", "coding", "steps"} <= found.keys()
    assert [name for name, value in found.items() if identity_of(value) is None and name not in inner] == []


@pytest.mark.parametrize("module", [parsers, metrics, aggregators])
def test_every_public_part_is_declared(module: Any) -> None:
    assert [name for name in module.__all__ if identity_of(getattr(module, name)) is None] == []


@pytest.mark.parametrize(("kind", "counted"), FIELDS.items())
def test_the_fields_that_count_are_pinned(kind: Any, counted: set[str]) -> None:
    identity = identity_of(kind)
    assert identity is not None and is_dataclass(kind)
    every = {each.name for each in fields(kind)}
    assert set(identity.unscored) <= every and every - set(identity.unscored) == counted


@pytest.mark.parametrize(
    "pipeline",
    [
        *(chatdev.pipeline(), cwq.pipeline(), hotpotqa.pipeline(), webqsp.pipeline()),
        *(minihop.pipeline(), minihop.pipeline("vote")),
        taskbench(ToolGraph((Tool("a", "b", ("c",)),), temporal=True)),
    ],
    ids=lambda pipeline: str(pipeline.name),
)
def test_our_tasks_say_no_module_and_no_source(pipeline: Pipeline) -> None:
    text = describe(pipeline)
    assert "agenttts" not in text and "#" not in text.replace("['#", "") and "def " not in text
    assert pipeline.uncovered == ()


MODEL = Model("m", 1e9)


def subtask(**changes: Any) -> Subtask:
    return Subtask("s", **{"models": (MODEL,), "prompt": "x", **changes})


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (subtask(), subtask(aggregator=at.aggregators.MajorityVote())),
        (subtask(), subtask(aggregator=at.aggregators.MajorityVote("named"))),
        (subtask(), subtask(parser=at.parsers.text)),
        (subtask(), subtask(sampling=Sampling())),
        (subtask(), subtask(models=[MODEL])),
        (subtask(), subtask(prompt_tokens=7, completion_tokens=8.0, max_samples=3, sample_counts=(1, 2))),
        (Sampling(temperature=1), Sampling(temperature=1.0)),
        (Sampling(top_p=1), Sampling(top_p=1.0)),
        (Sampling(stop=["a"]), Sampling(stop=("a",))),
        (Sampling(extra={"a": 1, "b": 2}), Sampling(extra={"b": 2, "a": 1})),
        (Model("m", 1), Model("m", 2, served_name="m", base_url="http://a", api_key_env="B", weight_bits=4, layers=1)),
        (Model("m", 1), Model("m", 1, usd_per_million_prompt_tokens=1, prefill_tokens_per_s=5)),
        (metrics.set_f1("a"), metrics.set_f1(field="a", both_empty=1)),
        (aggregators.Fuse(), aggregators.Fuse("other name")),
        (aggregators.Fuse(), aggregators.Fuse(sampling=Sampling(temperature=0.3))),
    ],
)
def test_two_spellings_of_the_same_are_the_same(one: Any, other: Any) -> None:
    assert describe(one) == describe(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (subtask(), subtask(aggregator=at.aggregators.First())),
        (subtask(), subtask(parser=at.parsers.number)),
        (subtask(), subtask(default=1)),
        (subtask(default=1), subtask(default=1.0)),
        (Model("m", 1), Model("m", 1, revision="2")),
        (Model("m", 1), Model("m", 1, served_name="n")),
        (Sampling(extra={"a": 1}), Sampling(extra={"a": 2})),
        (parsers.tagged("a"), parsers.tagged("b")),
        (metrics.exact_match("a"), metrics.token_f1("a")),
        (aggregators.Fuse(), aggregators.Fuse(instruction="x")),
        (aggregators.Fuse(), aggregators.BestOf()),
    ],
)
def test_what_differs_is_different(one: Any, other: Any) -> None:
    assert describe(one) != describe(other)


async def stage(run: SubtaskRun) -> str:
    return ""


def test_a_coroutine_may_take_no_aggregator_as_it_likes() -> None:
    one = Subtask("s", (MODEL,), run=stage)
    assert describe(one) != describe(replace(one, aggregator=aggregators.MajorityVote()))


def test_after_counts_by_what_it_stands_for() -> None:
    first, second = subtask(), replace(subtask(), name="t")
    implied = Pipeline("p", (first, second), stage)  # type: ignore[arg-type]  # never called
    assert implied.fingerprint == replace(implied, subtasks=(first, replace(second, after=("s",)))).fingerprint
    assert implied.fingerprint != replace(implied, subtasks=(first, replace(second, after=()))).fingerprint


@given(st.floats(0, 2), st.integers(0, 2), st.lists(st.text(max_size=2), max_size=2))
def test_a_sampling_counts_by_value(temperature: float, other: int, stop: list[str]) -> None:
    one, two = Sampling(temperature=temperature, stop=tuple(stop)), Sampling(temperature=other, stop=tuple(stop))
    assert (describe(one) == describe(two)) == (one == two)


def test_what_is_undeclared_cannot_be_part_of_a_pipeline() -> None:
    from agenttts.environments.tasks.chatdev.files import read_files

    with pytest.raises(ConfigError, match="read_files of agenttts has no declared name"):
        describe(subtask(parser=read_files))
    with pytest.raises(ConfigError, match="no declared name"):
        describe(at.Store())


def test_the_users_code_may_use_what_is_undeclared() -> None:
    from agenttts.environments.tasks.chatdev.files import read_files

    def parse(sample: str, _: SubtaskInput) -> Any:
        return read_files(sample)

    assert "agenttts read_files" in describe(parse) and uncovered(parse) == ()


def test_what_wraps_ours_is_not_ours() -> None:
    @wraps(parsers.number)
    def parse(sample: str, given: SubtaskInput) -> float:
        return 2 * parsers.number(sample, given)

    assert identity_of(parse) is None and "parsers.number 6()" in describe(parse)
    assert describe(parse) != describe(parsers.number)


def test_a_users_subclass_of_ours_is_the_users() -> None:
    class Mine(aggregators.Fuse):
        pass

    one, other = Mine(), Mine("other name")
    assert describe(one) == describe(other) != describe(aggregators.Fuse())
    assert describe(one) != describe(Mine(instruction="x"))


def test_a_version_that_is_raised_changes_what_holds_it() -> None:
    @identified("test.part", version=1)
    def part(sample: str, _: SubtaskInput) -> str:
        return sample

    before = describe(subtask(parser=part))
    object.__setattr__(DECLARED["test.part"], "version", 2)
    assert describe(subtask(parser=part)) == before.replace("test.part 1()", "test.part 2()")
    del DECLARED["test.part"]


def test_a_name_is_declared_once() -> None:
    with pytest.raises(ValueError, match="declared twice"):
        identified("parsers.number", version=7)


def test_no_aggregator_is_named_as_the_vote() -> None:
    assert describe(Identity("aggregators.majority_vote", 1)) == describe(aggregators.MajorityVote())
