"""The first ten minutes: a file of one's own is written, found, checked and given a budget."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from tests.cli.conftest import Shell
from tests.endpoint import FakeEndpoint
from tests.llm.providers import KEY, SHAPES, Provider

SPLIT = """
from helper import make
environment = make()
def other() -> "Environment":
    return make()
"""


def _split(shell: Shell, name: str) -> None:
    (shell.folder / "app").mkdir(exist_ok=True)
    (shell.folder / "mine.py").rename(shell.folder / "app" / "parts.py")
    (shell.folder / "app" / "helper.py").write_text("def make():\n    import parts\n    return parts.environment\n")
    (shell.folder / "app" / name).write_text(SPLIT)


@pytest.mark.parametrize("name", ["graph.py", "random.py", "json.py"])
def test_a_file_finds_its_neighbours_and_hides_no_other_module(shell: Shell, name: str) -> None:
    _split(shell, name)
    told = shell(f"check app/{name}:environment")
    assert "score" in told


def test_a_file_without_an_attribute_lists_its_environments(shell: Shell) -> None:
    _split(shell, "graph.py")
    for given in ("app/graph.py", "app/graph.py:environmnt"):
        assert "give app/graph.py:environment or app/graph.py:other" in shell(f"search {given}", code=2)
    (shell.folder / "empty.py").write_text("x = 1\n")
    assert "'empty.py' names a file, not an environment in it, and holds no" in shell("search empty.py", code=2)


def test_without_a_budget_one_is_proposed_that_works(shell: Shell) -> None:
    said = shell("search mine.py:environment", code=2)
    for part in ("give --budget", "cheapest 30 MFLOP", "largest once 240 MFLOP (find: large x1, answer: large x1)",
                 "largest 432 MFLOP (find: large x4, answer: large x4)", "--budget 240MFLOP"):  # fmt: skip
        assert part in said
    told = shell("search mine.py:environment --budget 240MFLOP --trials 2 --method random")
    assert "allocations cost at most 240 MFLOP per query" in told
    assert "--budget takes an amount in MFLOP" in shell("search mine.py:environment --budget 5USD", code=2)


def test_costs_have_one_scale_without_powers_of_ten(shell: Shell) -> None:
    mine = shell.folder / "mine.py"
    mine.write_text(mine.read_text().replace("1e6", "1e12").replace("8e6", "8e12"))
    told = shell("search mine.py:environment --budget 2.4e8 --trials 3 --method random")
    assert "at most 240 TFLOP per query" in told and "e+" not in told and " MFLOP" not in told
    for command in ("trials", "studies", "trace", "frontier"):
        assert "TFLOP" in (shown := shell(command)) and "e+" not in shown


def test_check_shows_what_every_model_was_asked_and_said(shell: Shell, endpoint: FakeEndpoint) -> None:
    endpoint.reply = lambda messages, seed: "text and more of it " * 5
    told = shell("check mine.py:environment --example 2")
    for part in ("== find: small x1, answer: small x1", "== find: large x1, answer: large x1", "  | find q2",
                 "find, small says:", "parsed as 'text and more", "score 0.000",
                 "completion of 25 tokens, declared 2, off 12.5 times", "A search of 30 trials on 5 "):  # fmt: skip
        assert part in told
    rows = shell.json("check mine.py:environment")
    assert [len(row["asked"]) for row in rows] == [2, 2] and rows[0]["lengths"]["find"]["prompt_tokens"] == 2
    assert "has no example '9'" in shell("check mine.py:environment --example 9", code=2)


def answering(messages: Sequence[dict[str, str]], seed: int) -> str:
    if "[[ ##" in messages[0]["content"]:  # DSPy's form
        name, said = ("answer", "tea") if "`answer`" in messages[0]["content"] else ("sentence", "Ann sells tea.")
        return f"[[ ## {name} ## ]]\n{said}\n\n[[ ## completed ## ]]"
    return "Sentence: Ann sells tea." if "Sentence:" in messages[-1]["content"] else "Answer: tea"


@pytest.mark.parametrize("kind", ["plain", "openai", "langgraph", "dspy"])
def test_init_writes_a_pipeline_that_runs(shell: Shell, endpoint: FakeEndpoint, kind: str) -> None:
    if kind == "dspy":
        pytest.importorskip("dspy")
    endpoint.models, endpoint.reply = ["llama-3.1-8b", "llama-3.1-70b"], answering
    assert "search new.py:environment" in shell(f"init new.py --kind {kind}")
    with shell.start("check new.py:environment", variables={"OPENAI_BASE_URL": endpoint.url}) as process:
        out, err = process.communicate(timeout=120)
    assert process.returncode == 0 and out.count("score 1.000") == 2, out + err
    if kind != "plain":  # what runs in one's own code is searched, too
        searched = "search new.py:environment --budget 200TFLOP --trials 2 --method random"
        assert "Best allocation" in shell(searched, OPENAI_BASE_URL=endpoint.url)
    assert "there is a file 'new.py' already" in shell("init new.py", code=2)


def test_the_planner_has_an_endpoint_and_a_key_of_its_own(shell: Shell, endpoint: FakeEndpoint) -> None:
    command = "search mine.py:environment --budget 100 --trials 1 --llm planner"
    with FakeEndpoint() as other:
        other.models, other.key = ["planner"], "sk-of-the-planner"
        shell(f"{command} --llm-base-url {other.url} --llm-key-env PLANNER", PLANNER="sk-of-the-planner")
        assert "set the environment variable PLANNER" in shell(
            f"{command} --llm-base-url {other.url} --llm-key-env PLANNER", code=2
        )
    with Provider(SHAPES["azure"]) as azure:
        there = f"{command} --study azure --llm-base-url {azure.url}"
        shell(f"{there} --llm-header api-key=AZURE", AZURE=KEY)
        assert "--llm-header takes NAME=VARIABLE" in shell(f"{there} --llm-header api-key", code=2)
    assert "give --llm MODEL" in shell(f"search mine.py:environment --budget 100 --llm-base-url {endpoint.url}", code=2)


SEARCH = "search mine.py:environment --budget 240 --trials 4 --method random"


def test_the_baseline_is_a_trial_and_the_gain_is_told(shell: Shell, endpoint: FakeEndpoint) -> None:
    told = shell(SEARCH)
    assert "baseline, find: large x1, answer: large x1" in told
    assert "Baseline (find: large x1, answer: large x1)" in told
    assert [row["searcher"] for row in shell.json("trials")] == ["baseline", "random", "random", "random"]
    assert "baseline 1" in shell("trials")
    shell("best", 0)
    (shell.folder / "today.yaml").write_text(
        "allocation: {find: {model: small, samples: 2}, answer: {model: large, samples: 1}}\n"
    )
    told = shell(f"{SEARCH} --study today --baseline today.yaml")
    assert "baseline, find: small x2, answer: large x1" in told
    assert "Gain over the baseline: " in told or "it is what is recommended" in told
    over = shell(f"{SEARCH} --study over --budget 100 --baseline today.yaml", code=2)
    assert "the baseline find: small x2, answer: large x1 is not in the space: it costs" in over


@pytest.mark.parametrize("default", ["", ', default="none"'])
def test_a_pipeline_that_parses_nothing_is_shown_and_not_recommended(
    shell: Shell, endpoint: FakeEndpoint, default: str
) -> None:
    mine = shell.folder / "mine.py"
    tagged = f'"find {{{{ question }}}}", parser=at.parsers.tagged("Found:"){default},'
    mine.write_text(mine.read_text().replace('"find {{ question }}",', tagged))
    with shell.start(SEARCH.replace("--trials 4", "--trials 20")) as process:
        out, err = process.communicate(timeout=120)
    assert process.returncode == 2 and "Best allocation" not in out and len(endpoint.requests) < 60
    for part in ("in none of 3 trials could anything of the pipeline be used", "subtask 'find' asked", "'find q",
                 "which said: '", "agenttts check"):  # fmt: skip
        assert part in err
