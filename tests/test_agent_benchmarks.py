"""benchmarks/semantics.py and benchmarks/experience.py: they run, and their tables have what was asked for."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.endpoint import FakeEndpoint

BENCHMARKS = Path(__file__).parent.parent / "benchmarks"
DESCRIBED = ["--families", "two-stage", "--seeds", "1", "--trials", "2"]
TOLD = ("true", "false", "untold")
ARM = re.compile(r"\| (cold|warm|adversary) \| 0\.\d{4} \| .* \| (?:-|[01] of 1) \|")


def ran(script: Path, *arguments: str) -> list[str]:
    done = subprocess.run([sys.executable, str(script), *arguments], capture_output=True, text=True, check=True)
    return done.stdout.splitlines()


def planners(lines: list[str]) -> list[tuple[str, ...]]:
    """Planner, what it was told, calls and tokens of each row."""
    rows = [line.strip("| ").split(" | ") for line in lines if line.startswith("| two-stage |")]
    return [(row[1], row[2], row[5], row[7]) for row in rows]


def test_a_script_that_is_labelled_so_plans_where_no_model_is_named() -> None:
    lines = ran(BENCHMARKS / "semantics.py", *DESCRIBED)
    assert any("**No LLM was asked.** The planner is a script." in line for line in lines)
    found = planners(lines)
    assert [row[:2] for row in found] == [("rules", "untold"), *(("scripted planner", told) for told in TOLD)]
    assert found[0][2:] == ("0.0", "0") and all(float(row[2]) >= 2 for row in found[1:])


@pytest.mark.slow
def test_replies_of_a_model_that_was_asked_are_kept_and_replayed(tmp_path: Path) -> None:
    for each in BENCHMARKS.glob("*.py"):
        shutil.copy(each, tmp_path)
    (tmp_path / "results").mkdir()
    with FakeEndpoint() as endpoint:
        endpoint.reply = lambda messages, seed: '{"notes": "n", "candidates": [{"rationale": "r", "number": 1}]}'
        asked = ran(tmp_path / "semantics.py", *DESCRIBED, "--llm", "small", "--llm-base-url", endpoint.url)
        assert endpoint.requests
    replayed = ran(tmp_path / "semantics.py", *DESCRIBED, "--llm", "small", "--llm-base-url", endpoint.url)
    assert "Asked was small." in asked and [row[:3] for row in planners(asked)] == [
        row[:3] for row in planners(replayed)
    ]
    assert [row[0] for row in planners(asked)] == ["rules", *["small"] * 3]
    assert '"model": "small"' in (tmp_path / "results" / "semantics_replies.json").read_text()


@pytest.mark.slow
def test_a_family_is_searched_cold_warm_and_after_a_world_upside_down() -> None:
    options = ["--seeds", "1", "--last", "400", "--jobs", "1"]
    lines = ran(BENCHMARKS / "experience.py", "--families", "two-stage", "loose", *options)
    arms = [match[1] for line in lines if (match := ARM.fullmatch(line))]
    assert arms == ["cold", "warm", "adversary"] * 2
    assert sum("of 1 |" in line for line in lines) == 4, "the posterior weighed what was taught"
