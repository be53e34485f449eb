"""What a planner may write: read in time, kept and quoted within bounds, and wrong in one sentence."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence

import pytest

from agenttts.baselines import AgentHPOSearcher
from agenttts.llm.chat import ChatModel
from agenttts.proposals.reading import read_candidates, read_notes
from agenttts.space.allocation import Allocation
from agenttts.study.trial import AgentStep
from tests.baselines.test_searchers import SPACE, archive_of
from tests.endpoint import FakeEndpoint

GOOD = {"allocation": {"a": {"model": "m", "samples": 3}, "b": {"model": "s", "samples": 2}}}
LONG = "9" * 5000
KEPT = 64 * 1024


def reply_of(**choice: object) -> str:
    return json.dumps({"candidates": [{"allocation": {"a": {"model": "m", "samples": 1, **choice}}}]})


@pytest.mark.parametrize(
    ("reply", "fault"),
    [
        ("", "no JSON object"),
        ("{" * 200_000, "no JSON object within its first 65,536 characters: keep it shorter"),
        ('{"a":' * 200_000, "more than 64 levels|broken or cut off"),  # Python 3.14 reads it to its end
        ('{"a":x' * 200_000, "no usable JSON object"),
        ('{"candidates":' + "[" * 200_000, "more than 64 levels"),
        (reply_of().replace("1}", f"{LONG}}}"), "a number of 5,000 digits"),
        (reply_of().replace("1}", "NaN}"), "NaN is no number of JSON"),
        (reply_of(samples=LONG), "candidates.0.allocation.a.samples: "),
        (reply_of(samples=10**300), "candidates.0.allocation.a.samples: "),
        (reply_of(samples=1.5), "candidates.0.allocation.a.samples: "),
        (reply_of(model="x" * 60_000 + "="), "cannot be part of an allocation"),
        (json.dumps({"candidates": [{"allocation": {"k" * 60_000: 1}}]}), "kkk.* \\[cut off: "),
        ("x" * 26_000_000 + json.dumps(GOOD), "no JSON object within its first 65,536 characters"),
        ('{"a": ["' + "x" * 10_000, "broken or cut off"),
        ('{"candidates": [{"allocation": {"st\nage": 3}}]}', "candidates.0.allocation.st age: "),
        ("{'" * 30_000, "no JSON object"),
        (json.dumps({"candidates": ["a" + " " * 60_000 + "b", "\n" * 500]}), "candidates.0.allocation: "),
    ],
    ids=lambda value: value[:20],
)
def test_a_hostile_reply_is_one_sentence(reply: str, fault: str) -> None:
    proposals, faults = read_candidates(reply, SPACE)
    assert proposals == [] and re.search(fault, faults[0])
    assert all(len(each) < 400 and "\n" not in each for each in faults)


def test_a_reply_of_very_many_proposals_is_read_in_part() -> None:
    reply = json.dumps({"candidates": [GOOD] * 500}, separators=(",", ":"))
    assert 1 <= len(read_candidates(reply, SPACE).proposals) <= 200


THIS = Allocation({"a": ("m", 3), "b": ("s", 2)})
OTHER = {"allocation": {"a": {"model": "l", "samples": 1}, "b": {"model": "s", "samples": 1}}}
BAD = {"allocation": {"a": {"model": "l", "samples": "many"}}}
WHOLE = json.dumps({"candidates": [GOOD]})


@pytest.mark.parametrize(
    "reply",
    [
        f"<think>{json.dumps(OTHER)}</think>{WHOLE}",
        f"I thought of {json.dumps(OTHER)} first, but it is too dear.\n```json\n{WHOLE}\n```",
        f"{WHOLE}\n\nBest regards {{and [so] on}}",
        json.dumps([GOOD]),
        json.dumps(GOOD),
        json.dumps(GOOD["allocation"]),
        json.dumps({"proposals": [GOOD]}),
        json.dumps({"candidates": GOOD}),
        '{"candidates": [{"allocation": {"a": {"model": "m", "samples": 3,}, "b": {"model": "s", "samples": 2},},},],}',
        '{"candidates": [{"allocation": {"a": {"model": "m", "samples": "x3"}, "b": {"model": "s", "samples": "2"}}}]}',
        '{"candidates": [{"allocation": {"a": "m x3", "b": "s x2"}}]}',
        '{"candidates": [{"allocation": "a: m x3, b: s x2"}]}',
        '{"candidates": ["a: m x3, b: s x2"]}',
        '{"candidates": [{"allocation": {"A": {"model": "M", "samples": 3}, "B": {"model": "S ", "samples": 2.0}}}]}',
        # wrapped, as in the call of a tool
        json.dumps({"reply": {"proposals": [GOOD]}}),
        f"<tool_call>{json.dumps({'name': 'propose', 'arguments': {'candidates': [GOOD]}})}</tool_call>",
        json.dumps({"tool_calls": [{"function": {"name": "propose", "arguments": WHOLE}}]}),
        json.dumps({"candidates": {"1": GOOD}}),
        json.dumps({"candidates": json.dumps([GOOD])}),
        # in other words
        json.dumps({"Candidates": [{"Rationale": ["so"], "Allocation": GOOD["allocation"]}]}),
        json.dumps({"candidates": [{"rationale": None, "number": None, "config": GOOD["allocation"]}]}),
        json.dumps({"candidates": [{"reason": "so", "cost": 12, **GOOD["allocation"]}]}),
        json.dumps({"candidates": [{"allocation": {**GOOD["allocation"], "units": "12.5", "note": "fits"}}]}),
        '{"candidates": [{"allocation": {"a": {"Model": "m (8B)", "n": 3, "operator": null}, "b": {"s": 2}}}]}',
        '{"candidates": [{"allocation": {"a": ["m", 3], "b": "2x s"}}]}',
        '{"candidates": [{"allocation": {"a": "m, 3 samples", "b": {"name": "s", "samples": "2 samples"}}}]}',
        '{"candidates": [{"allocation": [{"stage": "a", "model": "m", "samples": 3}, {"b": "s x2"}]}]}',
        '{"candidates": [{"allocation": ["m x3", "s x2"]}]}',
        '{"candidates": [{"allocation": "m x3 | s x2 | 12.5"}]}',
        '{"candidates": ["2. m x3 | s x2 | 12.5 | 0.6 ± 0.1"]}',
        # nearly JSON
        str({"candidates": [{**GOOD, "rationale": None, "it's": True}]}),
        '{candidates: [{allocation: {a: "m x3", /* the reader */ b: "s x2"}}], // no more\n}',
        "{“candidates”：[{“allocation”：{“a”：“m x3”，“b”：“s\xa0x2”}}]}",
        '{"notes": "first\nsecond", "candidates": [{"allocation": {"a": "ｍ x３", "b": "\u200bs x2"}}]}',
    ],
)
def test_what_a_model_means_is_read(reply: str) -> None:
    proposals, faults = read_candidates(reply, SPACE)
    assert [each.allocation for each in proposals] == [THIS] and faults == []


def test_what_several_candidates_hold_is_not_taken_for_the_choices_of_one() -> None:
    for reply in (
        {"proposals": [GOOD, OTHER]},  # as many as there are subtasks
        {"proposals": ["m x3 | s x2 | 12.5", "l x1 | s x1 | 9"]},
        {"candidate_1": GOOD, "notes": "one of two", "candidate_2": OTHER},
        {"properties": {"candidates": {"type": "array"}}, "plan": {"candidates": [GOOD, OTHER]}},
    ):
        proposals, faults = read_candidates(json.dumps(reply), SPACE)
        assert [each.allocation for each in proposals] == [THIS, Allocation({"a": ("l", 1), "b": ("s", 1)})]
        assert faults == []


@pytest.mark.parametrize(
    ("reply", "notes"),
    [
        ('{"notes": "first\nsecond", "candidates": []}', "first\nsecond"),
        ('{"reply": {"Notes": ["first", "second"]}}', "first second"),
        ("{'notes': 'it's so', 'candidates': []}", "it's so"),
        ('{"candidates": []}', ""),
    ],
)
def test_notes_are_found_where_they_are(reply: str, notes: str) -> None:
    assert read_notes(reply) == notes


@pytest.mark.parametrize(
    "reply", ['{"candidates": []}', '{"candidates": [{"allocation": {}}]}', '{"notes": "n"}', "no"]
)
def test_a_reply_without_proposals_has_a_fault_to_go_back_with(reply: str) -> None:
    proposals, faults = read_candidates(reply, SPACE)
    assert proposals == [] and len(faults) == 1


@pytest.mark.parametrize(
    ("reply", "fault"),
    [
        (json.dumps({"candidates": [BAD, GOOD, BAD]}), "candidates.0.allocation.a.samples: "),
        ('{"candidates": [' + json.dumps(GOOD) + ', {"allocation": {"a": {"mod', "broken or cut off"),
        ('{"candidates": [' + json.dumps(GOOD) + ', {"rationale": "a "word" in it"}]}', "broken or cut off"),
        (f"{json.dumps({'candidates': [OTHER]})} or rather\n" + '{"candidates": [' + json.dumps(GOOD), "cut off"),
    ],
)
def test_what_is_good_of_a_reply_is_kept_and_the_rest_complained_of(reply: str, fault: str) -> None:
    proposals, faults = read_candidates(reply, SPACE)
    assert [each.allocation for each in proposals] == [THIS] and fault in faults[0]


async def test_what_is_kept_of_a_reply_is_bounded_and_says_so(endpoint: FakeEndpoint) -> None:
    endpoint.reply = lambda messages, seed: "x" * 300_000
    answer = await ChatModel("small", base_url=endpoint.url).ask("q", system="s")
    assert len(answer.text) == KEPT and answer.text.endswith("x [cut off: 300,000 characters]")


async def test_prompts_do_not_grow_with_what_a_planner_writes(endpoint: FakeEndpoint) -> None:
    unknown = {name: {"model": "z" * 200, "samples": 1} for name in ("a", "b", "c" * 500)}
    many = json.dumps({"candidates": [{"rationale": "r" * 99, "allocation": {**unknown, f"d{n}": unknown["a"]}}
                                      for n in range(60)]})  # fmt: skip

    def reply(messages: Sequence[dict[str, str]], seed: int) -> str:
        return many if "Reply with JSON" in messages[-1]["content"] else "guideline " * 100_000

    endpoint.reply = reply
    steps: list[AgentStep] = []
    searcher = AgentHPOSearcher(ChatModel("small", base_url=endpoint.url))
    searcher.journal = steps.append
    proposed = await searcher.propose(archive_of(SPACE.cheapest), SPACE, 2)
    assert len(proposed) == 2 and len(endpoint.requests) >= 3
    for request in endpoint.requests:
        assert sum(len(message["content"]) for message in request["messages"]) < 4 * KEPT
    assert all(len(step.reply) <= KEPT and len(step.text) < 4 * KEPT for step in steps)
