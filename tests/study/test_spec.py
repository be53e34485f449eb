"""What tells one study from another."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from agenttts.study.experience import Experience
from agenttts.study.spec import StudySpec

PARTS = {"subtask 'find'": "a", "subtask 'answer'": "b", "the metric": "c", "the examples": "d"}
SPEC = StudySpec(
    environment="toy",
    pipeline="toy",
    sizes={"find": {"small": 1e6}, "answer": {"small": 1e6}},
    fingerprint="f",
    cost_model="flops",
    budget=10.0,
    pricing="p",
    method="random",
    seed=0,
    examples=2,
    fingerprints=PARTS,
)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, []),
        ({"budget": 20.0}, ["budget is 20.0, was 10.0"]),
        ({"fingerprint": "g", "fingerprints": {**PARTS, "the metric": "x"}}, ["the metric changed"]),
        (
            {"fingerprint": "g", "fingerprints": {**PARTS, "subtask 'find'": "x", "the examples": "x"}},
            ["subtask 'find', the examples changed"],
        ),
        ({"fingerprint": "g"}, ["the environment changed"]),
        ({"experience": Experience(studies=("old",))}, ["the experience is old, was none"]),
        ({"pricing": "q"}, ["token lengths, prices or throughputs changed, and so did what an allocation costs"]),
        (
            {"sizes": {"find": {"small": 1e6, "large": 8e6}, "check": {"small": 1e6}}},
            [
                "the models of subtask 'find' are small (1e+06 parameters) and large (8e+06 parameters), were small "
                "(1e+06 parameters), subtask 'answer' is gone, subtask 'check' is new"
            ],
        ),
    ],
)
def test_what_differs_between_two_studies_is_said_in_words(changes: dict[str, Any], words: list[str]) -> None:
    assert SPEC.differences(replace(SPEC, **changes)) == words
