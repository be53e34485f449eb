"""`agenttts record`: a table of every allocation on sample levels, that can be searched as it says."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from tests.cli.conftest import Shell
from tests.endpoint import FakeEndpoint

RECORD = "record mine.py:environment --budget 1000 --levels 1,4 -o table.csv"


def table(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_a_recording_holds_every_allocation_and_can_be_searched(shell: Shell) -> None:
    out = shell(RECORD)
    rows = table(shell.folder / "table.csv")
    keys = ("find.model", "find.samples", "answer.model", "answer.samples")
    allocations = {tuple(row[key] for key in keys) for row in rows}
    assert allocations == {
        (find, m, answer, n)
        for find in ("small", "large") for m in "14" for answer in ("small", "large") for n in "14"
    }  # fmt: skip
    assert len(rows) == 16 * 8 and {row["example"] for row in rows if row["held_out"] == "True"} == {"5", "6", "7"}
    assert "Recorded 16 allocations in 128 rows: table.csv" in out and "16/16 allocations" in out
    code = [line.strip() for line in out.splitlines() if line.startswith("    ")]
    (search,) = [line.partition("agenttts ")[2] for line in code if "agenttts search" in line]
    (shell.folder / "recorded.py").write_text("\n".join(line for line in code if "agenttts search" not in line))
    found = shell(f"{search} --trials 16 --method random --store other.db")
    assert "recorded outcomes; no model runs" in found and "16 trials done" in found
    assert "The search replayed (nothing was paid for): 0 tokens" in found


def test_recorded_scores_are_those_of_the_environment(shell: Shell) -> None:
    shell(RECORD)
    shell("search mine.py:environment --budget 1000 --trials 30 --method random --no-racing")
    means: dict[tuple[str, ...], list[float]] = {}
    for row in table(shell.folder / "table.csv"):
        if row["held_out"] == "False":
            key = tuple(row[f"{name}.{part}"] for name in ("find", "answer") for part in ("model", "samples"))
            means.setdefault(key, []).append(float(row["score"]))
    trials = {
        tuple(str(t["allocation"][name][part]) for name in ("find", "answer") for part in ("model", "samples")): t
        for t in shell.json("trials")
    }
    shared = means.keys() & trials.keys()
    assert shared
    for key in shared:
        assert trials[key]["score"] == pytest.approx(sum(means[key]) / len(means[key]))


def test_running_again_buys_nothing_and_writes_the_same(shell: Shell, endpoint: FakeEndpoint) -> None:
    shell(RECORD)
    before, asked = (shell.folder / "table.csv").read_text(), len(endpoint.requests)
    out = shell(RECORD)
    assert (shell.folder / "table.csv").read_text() == before and len(endpoint.requests) == asked
    assert "This run paid for 0 tokens in 0 requests" in out


def test_a_limit_stops_the_purchases_and_keeps_what_was_bought(shell: Shell) -> None:
    with shell.start(f"{RECORD} --max-tokens 20") as process:
        _, err = process.communicate(timeout=60)
    assert process.returncode == 0 and "no table was written: reached" in err and "(--max-tokens)" in err
    assert shell.files == {"agenttts.db"}
    assert "Recorded 16 allocations" in shell(RECORD)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("-o table.txt", "its name must end in .csv"),
        ("-o none/table.csv", "there is no folder 'none'"),
        ("-o table.csv --levels 1,x", "--levels must be whole numbers >= 1, separated by commas, not 'x'"),
        ("-o table.csv --levels 0", "--levels must be whole numbers >= 1, separated by commas, not '0'"),
        ("-o table.csv --levels 5", "no allocation on these levels is within the budget"),
        ("-o table.csv --budget 1", "below the cheapest allocation"),
        ("", "Missing option '--output'"),
    ],
)
def test_mistakes_are_refused_before_anything_is_bought(
    shell: Shell, endpoint: FakeEndpoint, options: str, message: str
) -> None:
    assert message in shell(f"record mine.py:environment --budget 1000 {options}", 2)
    assert not endpoint.requests and shell.files == set()
