"""What the models were asked and said, as a search leaves it in the store."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

import agenttts as at
from agenttts.errors import ConfigError, ParseError
from agenttts.report import read_said, said_lines
from agenttts.study.evaluation import ExampleResult
from agenttts.study.trial import Proposal
from agenttts.testing import ScriptedClient

SMALL, LARGE = at.Model("small", 1e6), at.Model("large", 8e6)
ROWS = [{"id": f"e{i}", "question": f"q{i}", "gold": f"a{i}"} for i in range(4)]


def parsed(said: str, given: at.SubtaskInput) -> str:
    """What stands after the colon."""
    before, colon, after = said.partition(":")
    if not colon:
        raise ParseError("there is no colon")
    return after.strip()


def environment(reply: Any, parser: Any = parsed) -> at.LiveEnvironment:
    find = at.Subtask("find", (SMALL,), "find {{ question }}", prompt_tokens=5, completion_tokens=2, max_samples=4)
    answer = replace(find, name="answer", models=(SMALL, LARGE), prompt="{{ question }}: {{ find }}", parser=parser)
    pipeline = at.Pipeline("mine", (find, answer), at.metrics.exact_match("gold"))
    return at.LiveEnvironment(pipeline, ROWS[:3], held_out=ROWS[3:], client=ScriptedClient(reply))


def searched(path: str, used: at.LiveEnvironment, trials: int = 4) -> at.Store:
    store = at.Store(path)
    space = at.SearchSpace(used.pipeline, at.cost_model("flops"), 320)
    limits = at.Limits(trials=trials)
    asyncio.run(at.search(used, at.searcher("random"), space, store, study_name="one", limits=limits, racing=None))
    return store


def reply(model: at.Model, messages: Sequence[dict[str, str]], position: int) -> str:
    """`answer` is right with its first sample, wrong with the second, unreadable with the third."""
    asked = messages[-1]["content"]
    if asked.startswith("find"):
        return f"found {asked[-1]}"
    return ("I think: a" + asked[1], "so: b", "nothing \x1b[31m<script>", "then: a" + asked[1])[position % 4]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[at.Store]:
    opened = searched(str(tmp_path_factory.mktemp("said") / "s.db"), environment(reply))
    yield opened
    opened.close()


def test_each_example_of_each_trial_tells_what_was_asked_said_made_of_it_and_handed_on(store: at.Store) -> None:
    study = store.study()
    trials = store.archive(study).trials
    for trial in trials:
        examples = [each for each in read_said(store, study, trial=trial.number) if not each.held_out]
        assert {each.example: each.score for each in examples} == {r.example: r.score for r in trial.evaluation.results}
        for example in examples:
            number = example.example[1]
            assert example.given == {"id": f"e{number}", "question": f"q{number}", "gold": f"a{number}"}
            find, answer = example.stages
            assert find.output == f"found {number}"
            (prompt,) = answer.prompts
            choice = trial.allocation["answer"]
            assert (prompt.model, answer.choice, len(prompt.samples)) == (choice.model, str(choice), choice.samples)
            assert prompt.messages[-1]["content"] == f"q{number}: {find.output}"
            assert [sample.value for sample in prompt.samples[:3]] == [f"a{number}", "b", None][: choice.samples]
            assert answer.output == f"a{number}" and max(answer.votes, key=lambda v: answer.votes[v]) == answer.output
            assert answer.unusable == (choice.samples >= 3)


def test_the_check_on_held_out_examples_is_there_with_its_fresh_samples(store: at.Store) -> None:
    held_out = [each for each in read_said(store, store.study()) if each.held_out]
    assert {each.example for each in held_out} == {"e3"}
    assert all(each.stages[-1].output == "a3" for each in held_out)


def test_a_stage_and_an_example_alone_and_only_what_went_wrong(store: at.Store) -> None:
    study = store.study()
    some = list(read_said(store, study, stage="answer", example="e1"))
    assert {(each.example, *(stage.stage for stage in each.stages)) for each in some} == {("e1", "answer")}
    wrong = list(read_said(store, study, failed=True))
    assert wrong and all(sum(stage.unusable for stage in each.stages) for each in wrong)


def test_a_pipeline_whose_samples_are_all_unusable_shows_the_prompt_and_the_reply(tmp_path: Path) -> None:
    opened = searched(str(tmp_path / "s.db"), environment(lambda *_: "no sign of it"), trials=1)
    first = next(read_said(opened, opened.study(), failed=True))
    assert first.score == 0 and first.error is not None and "could be parsed" in first.error
    answer = first.stages[-1]
    assert answer.output is None and answer.prompts[0].samples[0].text == "no sign of it"
    lines = list(said_lines([first]))
    assert "    handed on nothing" in lines and any("unusable): no sign of it" in line for line in lines)
    opened.close()


def test_lines_are_printable_whatever_was_said(store: at.Store) -> None:
    lines = list(said_lines(read_said(store, store.study(), failed=True)))
    assert any("nothing \\x1b[31m<script>" in line for line in lines) and not any("\x1b" in line for line in lines)


def test_what_a_racing_trial_sees_later_and_what_another_process_recorded_first(tmp_path: Path) -> None:
    used = environment(reply)
    store = at.Store(str(tmp_path / "s.db"))
    space = at.SearchSpace(used.pipeline, at.cost_model("flops"), 320)
    plan = at.SearchPlan(used, at.searcher("random"), space, store.location, study_name="one")
    study = store.start("one", plan.spec(used))
    from agenttts.execution import SamplePool

    async def scored(names: list[str]) -> at.Evaluation:
        pool = SamplePool(store.samples, study_id=study.id)
        return await used.evaluate(space.cheapest, names, pool=pool)

    first, second = asyncio.run(scored(["e0"])), asyncio.run(scored(["e0", "e1"]))
    trial = store.add_trial(study, Proposal(space.cheapest), first, cost=1, searcher="random", round=0)
    assert trial.evaluation.transcripts == {} and trial.evaluation == first
    store.add_trial(study, Proposal(space.cheapest), second, cost=1, searcher="random", round=0)
    store.extend_trial(study, trial, second)
    assert [each.example for each in read_said(store, study)] == ["e0", "e1"]
    store.close()


def test_values_of_every_kind_are_kept_as_text(tmp_path: Path) -> None:
    class Odd:
        def __repr__(self) -> str:
            raise RuntimeError("not me")

    made: list[Any] = [{"b": [1, 2]}, {(1, 2): 3}, Odd(), "long " * 400]

    def parser(said: str, given: at.SubtaskInput) -> Any:
        return made[int(given.example["question"][1])]

    used = environment(reply, parser=parser)
    used = at.LiveEnvironment(
        replace(used.pipeline, metric=lambda output, example: 1.0), ROWS, client=used.client, probe=False
    )
    store = searched(str(tmp_path / "s.db"), used, trials=1)
    values = {
        each.example: each.stages[-1].prompts[0].samples[0].value or "" for each in read_said(store, store.study())
    }
    assert (values["e0"], values["e1"]) == ('{"b": [1, 2]}', "{(1, 2): 3}")
    assert values["e2"] == "a Odd that cannot be shown: RuntimeError"
    assert len(values["e3"]) == 1000 and values["e3"].endswith("[cut off: 2,000 characters]")
    store.close()


def test_a_store_that_did_not_keep_it_says_so(tmp_path: Path) -> None:
    store = searched(str(tmp_path / "s.db"), environment(reply), trials=1)
    with store._engine.begin() as connection:
        connection.execute(text("DELETE FROM transcripts"))
    with pytest.raises(ConfigError, match="does not know which samples study 'one' drew"):
        read_said(store, store.study())
    store.close()


def test_what_is_not_there_is_named(store: at.Store) -> None:
    study = store.study()
    with pytest.raises(ConfigError, match="no trial 9; it has 1 to 4"):
        read_said(store, study, trial=9)
    with pytest.raises(ConfigError, match="no stage 'judge'; it has find, answer"):
        read_said(store, study, stage="judge")
    with pytest.raises(ConfigError, match="no example 'e9' in trial 1"):
        read_said(store, study, trial=1, example="e9")


def test_evaluations_without_a_study_keep_no_transcripts() -> None:
    used = environment(reply)
    space = at.SearchSpace(used.pipeline, at.cost_model("flops"), 320)
    evaluation = asyncio.run(used.evaluate(space.cheapest))
    assert evaluation.transcripts == {} and all(isinstance(each, ExampleResult) for each in evaluation.results)
