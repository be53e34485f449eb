"""Fingerprints: they change with whatever could change a score, and with nothing else."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agenttts.environments import environment
from agenttts.pipeline import Model, Pipeline, Subtask
from agenttts.pipeline.fingerprint import describe

HELPERS = """
DIGITS = "0123456789"

def clean(text):
    return text.strip()

def number(sample):
    return sum(map(DIGITS.index, sample))

def unused():
    return 1
"""

MINE = """
import enum, functools, json, logging, re, threading
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from openai import AsyncOpenAI

import agenttts as at
import helpers
from helpers import clean

THRESHOLD = 3
WORDS = {"alpha", "beta", "gamma", "delta"}
PATTERN = re.compile("[0-9]+")
WEIGHTS = np.array([0.5, 0.25])
CLIENT, LOCK, LOG, HERE = AsyncOpenAI(api_key="k"), threading.Lock(), logging.getLogger("mine"), Path(__file__)
CACHE = functools.lru_cache(lambda text: text.lower())

class Grade(enum.Enum):
    GOOD = "good"

@dataclass
class Rubric:
    top: int = 2
    grades: frozenset = frozenset({"a", "b", "c"})

class Scale:
    def __init__(self, top):
        self.top, self.lock = top, threading.Lock()

    def apply(self, score):
        return ratio(score, self.top)

    def score(self, output, example):
        return self.apply(float(output == example["gold"]))

def ratio(score, top):
    return score / top

def even(n):
    return n == 0 or odd(n - 1)

def odd(n):
    return n != 0 and even(n - 1)

@functools.lru_cache
def normalised(text):
    return clean(text) if text in {"one", "two", "three"} else CACHE(text)

def ask(given):
    LOG.info("asked at %s by %s", HERE, CLIENT)
    with LOCK:
        return normalised(given.example["question"])

def parse(sample, given, *, rubric=Rubric()):
    return helpers.number(PATTERN.search(sample)[0]) + rubric.top * WEIGHTS[0] if even(len(sample)) else Grade.GOOD

def stage(output, example):
    return float(output in WORDS and Counter(output).total() > THRESHOLD)

models = (at.Model("m", 1e9),)
find = at.Subtask("find", models, ask, metric=stage)
answer = at.Subtask("answer", models, "{{ question }}", parser=functools.partial(parse, rubric=Rubric(3)))
pipeline = at.Pipeline("mine", (find, answer), Scale(1).score)
rows = [{"id": str(i), "question": f"q{i}", "gold": i} for i in range(4)]
environment = at.LiveEnvironment(pipeline, rows[:2], held_out=rows[2:])

if __name__ == "__main__":
    print(json.dumps(environment.fingerprints))
"""


def written(folder: Path, mine: str = MINE, helpers: str = HELPERS) -> Path:
    folder.mkdir()
    (folder / "helpers.py").write_text(helpers)
    (folder / "mine.py").write_text(mine)
    return folder / "mine.py"


def fingerprints(path: Path, monkeypatch: pytest.MonkeyPatch) -> Mapping[str, str]:
    """As a search takes them that runs this file in its folder."""
    monkeypatch.syspath_prepend(path.parent)
    monkeypatch.delitem(sys.modules, "helpers", raising=False)
    loaded: Any = environment(f"{path}:environment")
    parts: Mapping[str, str] = loaded.fingerprints
    monkeypatch.delitem(sys.modules, "mine")
    monkeypatch.delitem(sys.modules, "helpers")
    return parts


FIND, ANSWER, METRIC = "subtask 'find'", "subtask 'answer'", "the metric"


@pytest.mark.parametrize(
    ("old", "new", "changed"),
    [
        ("return text.strip()", "return text.lstrip()", {FIND}),  # a helper of a helper, in another file
        ('{"one", "two", "three"}', '{"one", "two"}', {FIND}),  # behind a cache
        ("lambda text: text.lower()", "lambda text: text.upper()", {FIND}),
        ('"delta"}', '"delta", "epsilon"}', {FIND}),
        ("THRESHOLD = 3", "THRESHOLD = 4", {FIND}),
        ('"0123456789"', '"9876543210"', {ANSWER}),  # a constant of another file, reached through its module
        ("[0-9]+", "[0-9]", {ANSWER}),
        ("[0.5, 0.25]", "[0.25, 0.25]", {ANSWER}),
        ("return n != 0", "return n > 0", {ANSWER}),
        ("Rubric(3)", "Rubric(4)", {ANSWER}),
        ("top: int = 2", "top: int = 1", {ANSWER}),
        ("return score / top", "return score // top", {METRIC}),
        ("Scale(1)", "Scale(2)", {METRIC}),
        ('at.Subtask("answer", models, ', 'at.Subtask("answer", models, after=(), prompt=', {ANSWER}),
        ("rows[:2]", "[rows[1], rows[0]]", {"the examples"}),
        ('"gold": i}', '"gold": i if i < 2 else 0}', {"the held-out examples"}),
        ("return 1", "return 2", set()),  # nobody calls it
        ('api_key="k"', 'api_key="l"', set()),
        ("models = (", "# The models.\nmodels = (", set()),
    ],
)
def test_a_change_is_seen_in_the_parts_that_it_concerns_and_nowhere_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, old: str, new: str, changed: set[str]
) -> None:
    assert (MINE + HELPERS).count(old) == 1
    before = fingerprints(written(tmp_path / "before"), monkeypatch)
    after = fingerprints(written(tmp_path / "after", MINE.replace(old, new), HELPERS.replace(old, new)), monkeypatch)
    assert set(before) == {FIND, ANSWER, METRIC, "the examples", "the held-out examples", "the identity scheme"}
    assert {part for part in before if before[part] != after[part]} == changed


def test_processes_agree_wherever_the_files_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said = []
    for seed in ("1", "2"):
        script = written(tmp_path / seed)
        variables = {**os.environ, "PYTHONHASHSEED": seed}
        done = subprocess.run([sys.executable, script], capture_output=True, text=True, env=variables, check=True)
        said.append(json.loads(done.stdout))
    assert said[0] == said[1] == fingerprints(written(tmp_path / "imported"), monkeypatch)


def test_what_a_function_keeps_while_it_runs_is_no_change() -> None:
    seen: dict[str, int] = {}

    def metric(output: Any, example: Any) -> float:
        seen[output] = seen.get(output, 0) + 1
        return 0.0

    from agenttts.environments import LiveEnvironment

    built = LiveEnvironment(Pipeline("p", (Subtask("s", (Model("m", 1e9),), "x"),), metric), [{"id": "1"}])
    before = built.fingerprint
    metric("x", {})
    assert built.fingerprint == before


def plain_data() -> st.SearchStrategy[Any]:
    leaves = st.none() | st.integers(0, 2) | st.sampled_from(["", "a", "'", "...", "a, b"])
    return st.recursive(leaves, lambda each: st.lists(each, max_size=3) | st.dictionaries(st.sampled_from("ab"), each))


@given(plain_data(), plain_data())
def test_data_count_by_content(one: Any, other: Any) -> None:
    assert (describe(one) == describe(other)) == (one == other)


@given(st.dictionaries(st.integers() | st.text(), st.frozensets(st.text())), st.randoms(use_true_random=False))
def test_the_order_of_sets_and_mappings_does_not_count(data: dict[Any, frozenset[str]], random: Any) -> None:
    shuffled = list(data)
    random.shuffle(shuffled)
    again = {key: frozenset(random.sample(sorted(data[key]), len(data[key]))) for key in shuffled}
    assert describe(data) == describe(again)


def test_values_that_refer_to_themselves_have_an_end() -> None:
    endless: list[Any] = [1]
    endless.append(endless)
    assert describe(endless) == "[1, ...]"

    class Node:
        def __init__(self) -> None:
            self.own = self

    assert "..." in describe(Node())


class Judge:
    def __init__(self, strictness: float) -> None:
        self.strictness = strictness

    def score(self, output: Any, example: Any) -> float:
        return self.strictness


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (str.lower, str.upper),
        (Judge(0.1).score, Judge(0.2).score),
        (partial(max, 1), partial(max, 2)),
        (partial(max, 1), partial(min, 1)),
        (1, "1"),
        (eval("lambda: 1"), eval("lambda: 2")),
        (eval("lambda: (lambda: 1)"), eval("lambda: (lambda: 2)")),
    ],
)
def test_what_differs_is_described_differently(one: Any, other: Any) -> None:
    assert describe(one) == describe(one) != describe(other)
