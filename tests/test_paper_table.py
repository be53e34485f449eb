"""The benchmarks on the paper's tasks: what the simulated table says of itself, and the arithmetic of the costs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.endpoint import FakeEndpoint
from tests.environments.tasks.data import OWN

BENCHMARKS = Path(__file__).parent.parent / "benchmarks"
DATA = str(OWN / "webqsp.jsonl")


def run(script: str, *arguments: str, code: int = 0) -> str:
    done = subprocess.run(
        [sys.executable, str(BENCHMARKS / script), *arguments], capture_output=True, text=True, timeout=300
    )
    assert done.returncode == code, done.stderr
    return done.stdout if code == 0 else done.stderr


@pytest.mark.slow
def test_the_table_is_titled_as_simulated_and_says_what_was_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    methods = ("random", "llm-zs", "mlcopilot")
    out = run("paper_table.py", "webqsp", "--data", DATA, "--seeds", "2", "--levels", "1", "5", "--methods", *methods)
    lines = out.splitlines()
    assert lines[0] == "# webqsp: the paper's table 1 on simulated models" and "**No LLM answered the task.**" in out
    assert "webqsp.jsonl; 5 searched, 5 held out. Budget 474 in the paper's unit, 10,815 allocations" in out
    (row,) = [line for line in lines if line.startswith("| random |")]
    assert row.endswith("| Random | .86 | - |") and "of 2)" in row
    assert lines[-2] == "Left out, as they ask an LLM and none was given: llm-zs, mlcopilot."
    assert lines[-1] == "Not asked for with --methods: agent, tpe, gp, agenttts-paper, agenthpo."


@pytest.mark.slow
def test_methods_that_ask_an_llm_join_when_there_is_one(
    endpoint: FakeEndpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    endpoint.models = ["wise"]
    endpoint.reply = lambda messages, seed: "no JSON: what is missing is drawn at random, and counted as proposed so"
    monkeypatch.setenv("OPENAI_BASE_URL", endpoint.url)
    methods = ("agenttts-paper", "llm-zs", "agenthpo", "mlcopilot")
    small = ("--seeds", "1", "--trials", "3", "--levels", "1", "5", "--http")
    asking = ("--llm", "wise", "--similar", f"cwq={OWN / 'cwq.jsonl'}")
    out = run("paper_table.py", "webqsp", "--data", DATA, *small, *asking, "--methods", *methods)
    assert "**No LLM answered the task.**" in out and "Left out" not in out
    rows = [line.split(" | ")[0].strip("| ") for line in out.splitlines() if line.startswith("| ")]
    assert set(methods) <= set(rows)
    assert len(endpoint.requests) >= 4 and {each["model"] for each in endpoint.requests} == {"wise"}


def test_mistakes_are_one_sentence() -> None:
    assert "--similar takes TASK=PATH" in run("paper_table.py", "cwq", "--data", DATA, "--similar", "x", code=2)
    assert "--data takes TASK=PATH" in run("paper_cost.py", "--data", "hotpotqa", code=2)


def test_costs_are_those_of_the_cost_models() -> None:
    rows = {row.split(" | ")[0]: row.strip(" |").split(" | ") for row in run("paper_cost.py").splitlines()[2:]}
    # WebQSP, in dollars: Qwen2.5-72B reads 1,024 and writes 64 tokens at 1.20, Llama-3.1-70B 128 and 64 at 0.88.
    usd = (1088 * 1.20 + 192 * 0.88) / 1e6
    assert rows["| webqsp"][2] == "3,000" and rows["| webqsp"][-1] == f"{usd * 3000:.2f}"
    # 2 x 72e9 x 1,088 + 2 x 70e9 x 192 FLOP, and a little attention.
    assert 1.84e14 < float(rows["| webqsp"][3]) < 1.84e14 * 1.03
    measured = run("paper_cost.py", "--data", f"webqsp={DATA}").splitlines()[2]
    assert measured.startswith("| webqsp | ") and "1,024 + 64" not in measured
