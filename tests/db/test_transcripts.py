"""What a store keeps of what was asked and said, and what it tells whoever watches, on both databases."""

from __future__ import annotations

import pickle
from dataclasses import replace

from agenttts.db import Store
from agenttts.llm.samples import Sample, Spend, StoredPrompt
from agenttts.space.allocation import Allocation
from agenttts.study.evaluation import Evaluation, ExampleResult
from agenttts.study.transcript import DrawnPrompt, StageTranscript, Transcript
from agenttts.study.trial import AgentStep, Proposal, Refusal
from tests.db.test_store import ALLOCATION, SPEC

OTHER = Allocation({name: replace(choice, samples=choice.samples + 1) for name, choice in ALLOCATION.items()})
ODD = "nul \0, half \ud83d, \u202e and <b>"


def key(number: int) -> str:
    return f"{number:032d}"


def said(store: Store, study_id: int, example: str, number: int, **fields: object) -> Transcript:
    """A transcript of one stage, whose three samples are in the pool; the last is not used."""
    prompt = StoredPrompt(key(number), "m", "search", [{"role": "user", "content": f"{ODD} {example}"}], {}, 3)
    samples = [Sample(f"{ODD} 1", 2), Sample("2", 2), Sample("", 9, "cut")]
    store.samples.add(prompt, 0, samples, spend=Spend(), study_id=study_id)
    drawn = DrawnPrompt(key=key(number), model="m", samples=3, cut=1, values=(True, ODD, None))
    stage = StageTranscript(stage=next(iter(ALLOCATION)), drawn=(drawn,), output=ODD)
    return Transcript(stages=(stage,), given={"id": example, "gold": ODD, "odd": {1, 2}, **fields})


def evaluation(store: Store, study_id: int, *names: str, first: int = 0, error: str | None = None) -> Evaluation:
    results = tuple(ExampleResult(example=name, score=0.0 if error else 1.0, error=error) for name in names)
    transcripts = {each.example: said(store, study_id, each.example, first + n) for n, each in enumerate(results)}
    return Evaluation(results=results, transcripts=transcripts)


def test_what_was_said_comes_back_with_its_texts_however_odd(any_store: Store) -> None:
    study = any_store.start("one", SPEC)
    trial = any_store.add_trial(
        study, Proposal(ALLOCATION), evaluation(any_store, study.id, "a", ODD), cost=1, searcher="x", round=0
    )
    further = evaluation(any_store, study.id, "a", "c", first=2, error="no")
    any_store.extend_trial(study, trial, further)
    check = evaluation(any_store, study.id, "h", first=9)
    any_store.add_validation(study, ALLOCATION, check)
    any_store.add_validation(study, ALLOCATION, check)  # in place of the older one
    found = list(any_store.transcripts.of(study.id))
    shown = ODD.replace("\0", "\\x00").replace("\ud83d", "\\ud83d")
    assert [(each.example, each.held_out) for each in found] == [
        ("a", False),
        (shown, False),
        ("c", False),
        ("h", True),
    ]
    one = any_store.transcripts.one(study.id, 1, ODD, held_out=False)
    assert one is not None and (one.score, one.error, one.unusable, one.cut) == (1.0, None, 1, 1)
    (drawn,) = one.stages[0].drawn
    assert drawn.values == (True, shown, None) and one.stages[0].output == shown
    text = any_store.transcripts.texts(one.stages)[drawn.key]
    assert text.prompt.messages[0]["content"] == f"{shown} {shown}"
    assert [(each.text, each.ended) for each in text.samples] == [(f"{shown} 1", ""), ("2", ""), ("", "cut")]
    given = any_store.transcripts.given(study.id, [ODD])[shown]
    assert given["gold"] == shown and given["odd"] == "{1, 2}"
    assert any_store.transcripts.allocations(study.id, [1]) == {1: ALLOCATION.key}
    assert any_store.archive(study).trials[0].evaluation.transcripts == {}


def test_the_worst_come_first_and_pieces_follow_one_another(any_store: Store) -> None:
    study = any_store.start("one", SPEC)
    for number, (allocation, error) in enumerate([(ALLOCATION, None), (OTHER, "no")]):
        found = evaluation(any_store, study.id, "a", "b", first=10 * number, error=error)
        any_store.add_trial(study, Proposal(allocation), found, cost=1, searcher="x", round=number)
    worst = any_store.transcripts.worst(study.id, limit=3)
    assert [(each.trial, each.error) for each in worst][:2] == [(2, "no"), (2, "no")] and worst[2].trial == 1
    assert any_store.transcripts.count(study.id) == 4
    assert [each.trial for each in any_store.transcripts.of(study.id, failed=True)] == [1, 1, 2, 2]
    place, seen = (0, 0), []
    while piece := any_store.transcripts.after(study.id, place, 3):
        seen += [(each.trial, each.example) for each in piece]
        place = piece[-1].trial, piece[-1].id
    assert seen == [(1, "a"), (1, "b"), (2, "a"), (2, "b")]


def test_a_study_is_read_in_parts_and_its_stamp_changes_with_each(any_store: Store) -> None:
    study, overview = any_store.start("one", SPEC), any_store.overview
    stamps = [overview.stamp(study)]
    assert overview.activity(study) == (None, 0, False, False) and overview.trials(study, limit=9) == []
    any_store.put_proposals(study, [Proposal(ALLOCATION)], round=0)
    stamps.append(overview.stamp(study))
    assert overview.activity(study).proposals == 1
    for number, (allocation, score) in enumerate([(ALLOCATION, 0.2), (OTHER, 0.8)]):
        result = Evaluation(results=(ExampleResult(example="a", score=score),))
        any_store.add_trial(study, Proposal(allocation), result, cost=2 - number, searcher="x", round=number)
        stamps.append(overview.stamp(study))
    any_store.add_step(study, AgentStep(round=1, node="reflect", planner="rules"))
    stamps.append(overview.stamp(study))
    any_store.add_refusal(study, Refusal(allocation=OTHER, reasons=("no",), searcher="x", round=1))
    stamps.append(overview.stamp(study))
    assert len(set(stamps)) == len(stamps)
    assert [each.number for each in overview.trials(study, order="score", limit=1)] == [2]
    assert [each.number for each in overview.trials(study, order="cost", limit=1)] == [2]
    assert overview.trial(study, 3) is None
    assert overview.rounds(study, limit=1) == [1] and overview.count_rounds(study) == 2
    assert [each.number for each in overview.trials_of(study, [1])] == [2]
    assert [each.node for each in overview.steps_of(study, [1])] == ["reflect"]
    assert overview.refusals(study, rounds=[0], limit=9) == []
    assert not overview.activity(study).checked
    any_store.add_validation(study, ALLOCATION, Evaluation(results=(ExampleResult(example="h", score=1.0),)))
    assert overview.activity(study).checked and overview.activity(study).proposals == 0


def test_a_store_opens_itself_anew_in_another_process(any_url: str) -> None:
    first = Store(any_url)
    study = first.start("one", SPEC)
    second = pickle.loads(pickle.dumps(first))
    assert second.study("one") == study
    first.close()
    second.close()
