"""The command line as a user runs it: output, exit codes, resumption."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from agenttts.environments.tasks.minihop import MODELS
from tests.endpoint import FakeEndpoint, Fault

PIPELINE = """
import agenttts as at

models = [at.Model("small", 1e6, base_url="{url}"), at.Model("large", 8e6, base_url="{url}")]
find = at.Subtask("find", models, "find {{{{ question }}}}", prompt_tokens=5, completion_tokens=2, max_samples=4)
answer = at.Subtask("answer", models, "{{{{ question }}}} {{{{ find }}}}", prompt_tokens=6, completion_tokens=2,
                    max_samples=4)
rows = [{{"id": str(i), "question": f"q{{i}}", "gold": "text"}} for i in range(8)]
pipeline = at.Pipeline("mine", (find, answer), at.metrics.exact_match("gold"))
environment = at.LiveEnvironment(pipeline, rows[:5], held_out=rows[5:])
"""


class Shell:
    """Runs `agenttts` in an empty folder without any key."""

    def __init__(self, folder: Path, endpoint: FakeEndpoint) -> None:
        self.folder = folder
        (folder / "mine.py").write_text(PIPELINE.format(url=endpoint.url))

    def __call__(self, command: str, code: int = 0, **variables: str) -> str:
        environment = {k: v for k, v in os.environ.items() if not k.startswith(("OPENAI_", "AGENTTTS_"))} | variables
        done = subprocess.run(
            [sys.executable, "-c", "from agenttts.cli import main; main()", *command.split()],
            capture_output=True, text=True, cwd=self.folder, env=environment, timeout=120,
        )  # fmt: skip
        assert done.returncode == code, done.stdout + done.stderr
        assert "Traceback" not in done.stderr
        return done.stdout if code == 0 else done.stderr

    def json(self, command: str) -> Any:
        return json.loads(self(f"{command} --json"))


@pytest.fixture
def shell(tmp_path: Path, endpoint: FakeEndpoint) -> Shell:
    endpoint.reply = lambda messages, seed: "text" if seed % 3 else "other"
    return Shell(tmp_path, endpoint)


SEARCH = "search mine.py:environment --budget 100 --trials 5 --method random"


def test_a_search_tells_the_answer_and_where_it_is_kept(shell: Shell) -> None:
    lines = shell(SEARCH).splitlines()
    assert lines[0] == "environment  mine: 5 examples, 3 held out"
    assert "allocations cost at most 100 MFLOP per query" in lines[1]
    assert lines[3] == "study        mine-flops100-random-s0 in agenttts.db"
    assert sum(line.startswith("trial ") for line in lines) == 5
    text = "\n".join(lines)
    for part in ("Best allocation", "held-out examples: ", "95 % interval", "MFLOP of 100 MFLOP", "tokens in",
                 "sample pool", "agenttts trace mine-flops100-random-s0"):  # fmt: skip
        assert part in text
    assert "\x1b" not in text


def test_the_same_command_resumes(shell: Shell, endpoint: FakeEndpoint) -> None:
    shell(SEARCH)
    bought = len(endpoint.requests)
    again = shell(SEARCH)
    assert "resumed with 5 trials" in again and len(endpoint.requests) == bought
    further = shell(SEARCH.replace("--trials 5", "--trials 7"))
    assert sum(line.startswith("trial ") for line in further.splitlines()) == 2


def test_what_was_found_can_be_listed_and_kept(shell: Shell) -> None:
    shell(SEARCH)
    shell("search mine.py:environment --budget 100 --trials 9 --llm none")
    studies = shell.json("studies")
    assert [study["method"] for study in studies] == ["random", "agent"]
    assert studies[0]["trials"] == 5 and studies[0]["tokens_bought"] > 0
    assert "mine-flops100-agent-rules-s0" in shell("studies")
    trials = shell.json("trials mine-flops100-random-s0")
    assert [trial["number"] for trial in trials] == [1, 2, 3, 4, 5]
    assert trials[0]["allocation"]["find"]["model"] in ("small", "large")
    scores = [trial["score"] for trial in shell.json("trials --by-score")]
    assert scores == sorted(scores, reverse=True)
    kept = yaml.safe_load(shell("best"))
    assert kept == json.loads(shell("best --format json")) and kept["held_out"]["examples"] == 3
    assert set(kept["allocation"]) == {"find", "answer"}


def test_a_trace_shows_the_nodes_of_the_graph(shell: Shell) -> None:
    shell("search mine.py:environment --budget 100 --trials 9 --llm none")
    trace = shell("trace")
    for part in ("recall (rules)", "initial (rules)", "reflect (rules)", "propose (rules)", "check (rules)", "trial 9"):
        assert part in trace
    last = shell("trace --trial 9")
    assert "trial 9" in last and "trial 1\n" not in last
    assert {step["node"] for step in shell.json("trace")} == {"recall", "initial", "reflect", "propose", "check"}
    assert "has no trial 99; it has 1 to 9" in shell("trace --trial 99", code=2)


def test_methods_are_compared_in_one_table(shell: Shell) -> None:
    rows = shell.json("compare mine.py:environment --budget 100 --trials 6 --methods agent,random --seeds 2 --llm none")
    assert [(row["method"], row["seeds"]) for row in rows] == [("agent-rules", 2), ("random", 2)]
    assert all(0 <= row["score"]["value"] <= 1 for row in rows)
    table = shell("compare mine.py:environment --budget 100 --trials 6 --methods agent,random --seeds 2 --llm none")
    assert "±" in table and "score on held-out examples" in table


def test_environments_are_listed(shell: Shell) -> None:
    assert "minihop" in shell("environments")
    assert shell.json("environments")[0]["name"] == "minihop"


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("search nonsense", "there is no environment 'nonsense'"),
        ("search mine.py:environment", "has no default budget for this cost: give --budget"),
        ("search mine.py:environment --budget 1", "below the cheapest allocation: pipeline 'mine' needs at least"),
        ("search mine.py:environment --budget 100 --trials 0", "trials must be at least 1, not 0"),
        ("search mine.py:environment --budget 100 --parallel 0", "parallel must be at least 1, not 0"),
        ("search mine.py:environment --budget 100 --method magic", "there is no method 'magic'"),
        ("search mine.py:environment --budget 100 --cost usd", "needs usd_per_million_prompt_tokens of model 'small'"),
        ("search mine.py:environment --budget 100 --cost magic", "Invalid value for '--cost'"),
        ("search mine.py:environment --budget 100 --max-usd 1", "needs the prices of model 'small'"),
        ("search mine.py:environment --budget 100 --llm o3-mini", "needs a key: set OPENAI_API_KEY"),
        ("search mine.py:environment --budget 100 --without-insight 7", "insights are 1, 2 and 3, not 7"),
        ("compare mine.py:environment --budget 100 --seeds 0", "seeds must be at least 1, not 0"),
        ("compare mine.py:environment --budget 100 --methods agent,magic", "there is no method 'magic'"),
        ("studies", "there is no store 'agenttts.db'"),
        ("best nothing --store mine.py", "cannot open the store"),
    ],
)
def test_bad_input_is_one_sentence_before_anything_is_bought(
    shell: Shell, endpoint: FakeEndpoint, command: str, message: str
) -> None:
    code = 4 if "--store mine.py" in command else 2
    said = shell(command, code=code)
    assert message in " ".join(said.split())
    assert endpoint.requests == []


def test_a_study_with_other_settings_is_not_resumed(shell: Shell, endpoint: FakeEndpoint) -> None:
    shell(f"{SEARCH} --study mine")
    bought = len(endpoint.requests)
    said = shell(f"{SEARCH} --study mine".replace("--budget 100", "--budget 120"), code=2)
    assert "budget is 120.0, was 100.0" in said
    shell.folder.joinpath("mine.py").write_text(PIPELINE.format(url=endpoint.url).replace("find {{", "seek {{"))
    assert "(subtask 'find' changed)" in shell(f"{SEARCH} --study mine", code=2)
    assert len(endpoint.requests) == bought


def test_a_model_that_is_not_served_is_named(shell: Shell, endpoint: FakeEndpoint) -> None:
    endpoint.models = ["small", "medium"]
    said = shell(SEARCH, code=2)
    assert "does not serve the model 'large'; it serves small, medium" in said
    assert endpoint.requests == []


def test_an_endpoint_that_cannot_be_reached_is_named(shell: Shell) -> None:
    shell.folder.joinpath("mine.py").write_text(PIPELINE.format(url="http://127.0.0.1:9/v1"))
    assert "cannot reach http://127.0.0.1:9/v1" in shell(SEARCH, code=3)


def test_a_failing_server_ends_the_search_with_its_own_code(shell: Shell, endpoint: FakeEndpoint) -> None:
    endpoint.faults = [Fault(401, "no access")] * 100
    assert "every example failed" in shell(SEARCH, code=3)


def test_spending_limits_end_a_search_well(shell: Shell) -> None:
    said = shell(f"{SEARCH.replace('--trials 5', '--trials 500')} --max-tokens 60")
    assert "of at most 60 (--max-tokens)" in said


def test_the_llm_planner_is_charged_and_traced(shell: Shell, endpoint: FakeEndpoint) -> None:
    def reply(messages: Any, seed: int) -> str:
        if "Reply with JSON" in messages[-1]["content"]:
            chosen = {"find": {"model": "small", "samples": 3}, "answer": {"model": "small", "samples": 2}}
            return json.dumps({"candidates": [{"rationale": "cheap", "allocation": chosen}]})
        return "1. stay <script>small</script>" if "guideline" in messages[-1]["content"] else "text"

    endpoint.reply = reply
    said = shell("search mine.py:environment --budget 100 --trials 8 --llm wise", OPENAI_BASE_URL=endpoint.url)
    assert "method       agent-wise" in said
    steps = shell.json("trace")
    assert any(step["node"] == "reflect" and step["planner"] == "wise" and step["tokens"] > 0 for step in steps)
    assert "<script>" in shell("trace")


def test_minihop_has_its_own_default_budget() -> None:
    from agenttts.environments import environment

    assert environment("minihop").default_budget == (700, "flops")
    assert [model.name for model in MODELS] == ["minihop-xs", "minihop-s", "minihop-m", "minihop-l"]
