"""The command line as a user runs it: output, exit codes, resumption."""

from __future__ import annotations

import json
import re
import signal
import time
from pathlib import Path
from typing import Any

import pytest
import yaml

from agenttts.environments.tasks.minihop import MODELS
from tests.cli.conftest import PIPELINE, SEARCH, Shell
from tests.endpoint import FakeEndpoint, Fault

FAILING = """
def metric(output, example):
    if example["id"] in ("1", "4"):
        raise ValueError("no gold")
    if example["id"] == "3":
        raise KeyError("gold")
    return 1.0
""" + PIPELINE.replace('at.metrics.exact_match("gold")', "metric")


def test_a_search_tells_the_answer_and_where_it_is_kept(shell: Shell) -> None:
    lines = shell(SEARCH).splitlines()
    assert lines[0] == "environment  mine: 5 examples, 3 held out"
    assert "allocations cost at most 100 MFLOP per query" in lines[1]
    assert lines[3] == "study        mine-flops100-random-s0 in agenttts.db"
    assert sum(line.startswith("trial ") for line in lines) == 5
    text = "\n".join(lines)
    for part in ("Best allocation", "held-out examples: ", "95 % interval", "of 100 MFLOP per query",
                 "The search paid for: ", "of which the held-out check", "sample pool", "This run took: ",
                 "agenttts trace mine-flops100-random-s0"):  # fmt: skip
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
    assert studies[0]["trials"] == 5 and studies[0]["recorded"] == ""
    assert "mine-flops100-agent-rules-s0" in shell("studies")
    trials = shell.json("trials mine-flops100-random-s0")
    assert [trial["number"] for trial in trials] == [1, 2, 3, 4, 5]
    assert trials[0]["allocation"]["find"]["model"] in ("small", "large")
    checks = [trial["held_out"] for trial in trials if trial["held_out"]]  # of the winner, and of the baseline
    assert len(checks) in (1, 2) and all(check["examples"] == 3 for check in checks)
    paid = sum(check["tokens_bought"] for check in checks)
    assert studies[0]["tokens_bought"] > studies[0]["tokens_bought_for_held_out"] == paid > 0
    scores = [trial["score"] for trial in shell.json("trials --by-score")]
    assert scores == sorted(scores, reverse=True)
    kept = yaml.safe_load(shell("best"))
    assert kept == json.loads(shell("best --format json")) and kept["held_out"]["examples"] == 3
    assert set(kept["allocation"]) == {"find", "answer"}


def test_a_trace_shows_the_nodes_of_the_graph(shell: Shell) -> None:
    shell("search mine.py:environment --budget 100 --trials 9 --llm none")
    trace = shell("trace")
    for part in ("recall (rules)", "initial (rules)", "reflect (rules)", "propose (rules)", "check (rules)", "trial 9",
                 "the answer\n", "Cost of one query: "):  # fmt: skip
        assert part in trace
    last = shell("trace --trial 9")
    assert "trial 9" in last and "trial 1\n" not in last
    assert {step["node"] for step in shell.json("trace")} == {"recall", "initial", "reflect", "propose", "check"}
    assert "has no trial 99; it has 1 to 9" in shell("trace --trial 99", code=2)


def test_the_trace_of_a_trial_shows_its_stages_and_examples(shell: Shell) -> None:
    shell(SEARCH)
    trial = shell.json("trace --trial 2")
    assert [stage["stage"] for stage in trial["stages"]] == ["find", "answer"]
    costs = [stage[f"{part}_cost"] for stage in trial["stages"] for part in ("prompt", "generation", "aggregation")]
    assert sum(costs) == pytest.approx(trial["cost"])
    searched = [row["score"] for row in trial["results"] if not row["held_out"]]
    assert len(searched) == 5 and sum(searched) / 5 == pytest.approx(trial["score"])
    said = shell("trace --trial 2")
    for stage in trial["stages"]:
        assert f"{stage['stage']}: {stage['model']} x{stage['samples']}; {stage['samples_drawn']} samples drawn" in said
    for row in trial["results"]:
        assert row["held_out"] or re.search(rf"(?m)^{row['example']} +{row['score']:.3f}", said)


def test_a_report_is_one_file_and_what_cannot_be_reported_leaves_none(shell: Shell) -> None:
    shell(SEARCH)
    assert shell("report -o page.html") == "wrote page.html\n"
    page = (shell.folder / "page.html").read_text("utf-8")
    assert page.startswith("<!DOCTYPE html>") and "mine-flops100-random-s0" in page
    assert "there is no study 'none'" in shell("report none -o none.html", code=2)
    assert "cannot write 'no/such/folder.html': No such file" in shell("report -o no/such/folder.html", code=2)
    assert shell.files == {"agenttts.db", "page.html"}


COMPARE = "compare mine.py:environment --budget 100 --trials 6 --methods agent,random --seeds 2 --llm none"


@pytest.mark.slow
def test_methods_are_compared_in_one_table(shell: Shell) -> None:
    rows = shell.json(COMPARE)
    assert [(row["method"], row["seeds"]) for row in rows] == [("agent-rules", 2), ("random", 2)]
    for row in rows:
        low, high = row["score"]["interval"] or (0, 1)
        assert 0 <= low <= row["score"]["value"] <= high <= 1
        (baseline,), gain = row["baselines"], row["gain"]
        assert baseline["allocation"] == shell.json(f"trials {row['runs'][0]['study']}")[0]["allocation"]
        assert gain is None or gain["value"] == pytest.approx(row["score"]["value"] - baseline["score"])
        assert gain is None or (gain["held_out"] and gain["examples"] == 3)
    assert any(row["gain"] for row in rows)
    table = shell(COMPARE)
    assert re.search(r"^baseline +\d\.\d{3} *$", table, re.M) and "a trial of every search" in table
    assert "score on held-out examples" in table and "agent-rules" in table and "±" not in table


def test_what_races_and_what_does_not_are_studies_of_their_own(shell: Shell) -> None:
    shell(SEARCH)
    shell("compare mine.py:environment --methods random --seeds 1 --budget 100 --trials 5 --no-racing")
    again = shell(f"{SEARCH} --no-racing")
    assert "resumed with 5 trials" in again and "mine-flops100-random-noracing-s0" in again
    assert len(shell.json("studies")) == 2


@pytest.mark.slow
def test_one_search_serves_several_budgets(shell: Shell, endpoint: FakeEndpoint) -> None:
    several = "search mine.py:environment --budgets 60:100:3 --trials 9 --method random"
    said = shell(several)
    assert "cost at most 100 MFLOP per query; budgets 60, 80, 100" in said
    assert " best within 100 MFLOP 0." in said
    assert "mine-flops60to100x3-random-s0" in said and "of which the held-out check" in said
    assert "next budget gains" in said
    bought = len(endpoint.requests)
    data = shell.json("frontier")
    assert [row["budget"] for row in data["budgets"]] == [60, 80, 100] and data["unreached"] == []
    assert all(row["cost"] <= row["budget"] and row["held_out"]["examples"] == 3 for row in data["budgets"])
    assert "Pareto-optimal trials" in shell("frontier")
    kept = shell.json("best --budget 80")
    assert kept["allocation"] == data["budgets"][1]["allocation"] and kept["cost"]["budget"] == 80
    assert shell.json("best")["allocation"] == data["budgets"][2]["allocation"]
    assert "says nothing of 120 MFLOP" in shell("best --budget 120", code=2)
    other = several.replace("60:100:3", "60,70,100")
    assert "budgets is (60.0, 70.0, 100.0), was (60.0, 80.0, 100.0)" in shell(other, code=2)
    assert len(endpoint.requests) == bought


ABLATE = "ablate mine.py:environment --budget 100 --trials 5 --seeds 1 --llm none"


@pytest.mark.slow
def test_the_agent_is_ablated_in_one_table(shell: Shell) -> None:
    rows = {row["method"]: row for row in shell.json(ABLATE)}
    assert list(rows) == [
        "agent", "without insight 1", "without insight 2", "without insight 3", "without all insights",
        "without racing", "without counterfactual trials", "luckiest mean",
    ]  # fmt: skip
    studies = {name: [run["study"] for run in row["runs"]] for name, row in rows.items()}
    assert studies["luckiest mean"] == studies["without racing"] and len(shell.json("studies")) == len(rows) - 1
    assert len({str(row["baselines"]) for row in rows.values()}) == 1 and rows["agent"]["gain"]["held_out"]
    for run in rows["luckiest mean"]["runs"]:
        trials = shell.json(f"trials {run['study']}")
        luckiest = max(trials, key=lambda trial: (trial["score"], -trial["cost"]))
        assert run["allocation"] == luckiest["allocation"] and run["score"] == luckiest["held_out"]["score"]
    table = shell(ABLATE)
    assert all(name in table for name in rows) and "luckiest mean: no search of its own" in table


def test_a_recording_is_not_called_a_purchase(shell: Shell) -> None:
    said = shell("search minihop-recorded --llm none --trials 2")
    assert said.splitlines()[0].endswith("(recorded samples of real models; no model runs)")
    assert "The search replayed (nothing was paid for): " in said and "k replayed, 0 reused" in said
    assert " paid for, " not in said
    assert "tokens replayed" in shell("trials") and " replayed" in shell("studies")
    assert shell.json("studies")[0]["recorded"] == "recorded samples of real models; no model runs"


def test_every_reason_of_failure_is_counted(shell: Shell, endpoint: FakeEndpoint) -> None:
    shell.folder.joinpath("mine.py").write_text(FAILING.format(url=endpoint.url))
    said = shell(SEARCH)
    assert "on   5, 3 failed" in said and "  2 failed: ValueError: no gold\n  1 failed: KeyError: 'gold'" in said
    first = shell.json("trials")[0]
    assert first["failures"] == 3 and first["errors"] == {"ValueError: no gold": 2, "KeyError: 'gold'": 1}
    assert "  2 failed: ValueError: no gold\n  1 failed: KeyError: 'gold'\nwhy: " in shell("trace --trial 1")


def test_environments_are_listed(shell: Shell) -> None:
    assert "minihop" in shell("environments")
    assert shell.json("environments")[0]["name"] == "minihop"


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("search nonsense", "there is no environment 'nonsense'"),
        ("search mine.py:environment", "has no default budget for this cost: give --budget"),
        ("search mine.py:environment --budget 1", "below the cheapest allocation: pipeline 'mine' needs at least"),
        ("search mine.py:environment --budgets 60,many", "--budgets takes numbers, as in 300,600,900"),
        ("search mine.py:environment --budgets 60:100", "start:stop:count with a count of at least 2"),
        ("search mine.py:environment --budgets 60:100:1", "start:stop:count with a count of at least 2"),
        ("search mine.py:environment --budgets 100,60", "budgets must ascend, each one once, but 60 follows 100"),
        ("search mine.py:environment --budgets 60,60", "budgets must ascend, each one once, but 60 follows 60"),
        ("search mine.py:environment --budgets 1,60", "budget 1 MFLOP is below the cheapest allocation: pipeline 'mi"),
        ("search mine.py:environment --budgets 60,nan", "--budgets takes numbers, as in 300,600,900"),
        ("search mine.py:environment --budgets nan", "--budgets takes numbers, as in 300,600,900"),
        ("search mine.py:environment --budgets 60:inf:3", "--budgets takes numbers, as in 300,600,900"),
        ("search mine.py:environment --budgets 60,100 --budget 60", "--budget and --budgets exclude each other"),
        ("ablate mine.py:environment --budget 100 --seeds 0", "seeds must be at least 1, not 0"),
        ("search mine.py:environment --budget 100 --trials 0", "trials must be at least 1, not 0"),
        ("search mine.py:environment --budget 100 --parallel 0", "parallel must be at least 1, not 0"),
        ("search mine.py:environment --budget 100 --timeout 0", "--timeout must be seconds, more than 0, not 0"),
        ("search mine.py:environment --budget 100 --timeout nan", "--timeout must be seconds, more than 0, not nan"),
        ("search mine.py:environment --budget 100 --give-up-after -1", "--give-up-after must be minutes, more than 0"),
        ("search mine.py:environment --budget 100 --method magic", "there is no method 'magic'"),
        ("search mine.py:environment --budget 100 --cost usd", "needs the prices of model 'small'"),
        ("search mine.py:environment --budget 100 --max-usd 1", "needs the prices of model 'small'"),
        ("search mine.py:environment --budget 100 --llm o3-mini", "needs a key: set OPENAI_API_KEY"),
        ("search mine.py:environment --budget 100 --method random --llm o3-mini", "'random' asks no LLM"),
        ("search mine.py:environment --budget 100 --method llm-zs", "'llm-zs' asks an LLM: name one with --llm MODEL"),
        (
            "search mine.py:environment --budget 100 --method mlcopilot --llm wise --llm-base-url http://localhost:9/v1",
            "learns from a study of a similar task: name one",
        ),
        (
            "search mine.py:environment --budget 100 --experience x",
            "there is no store 'agenttts.db'",
        ),
        ("compare mine.py:environment --budget 100 --methods random,grid --llm o3-mini", "'random' asks no LLM"),
        ("search mine.py:environment --budget 100 --without-insight 7", "insights are 1, 2 and 3, not 7"),
        ("compare mine.py:environment --budget 100 --seeds 0", "seeds must be at least 1, not 0"),
        (
            "search mine.py:environment --budget 100 --llm wise --llm-timeout 0",
            "--llm-timeout must be minutes, more than",
        ),
        ("compare mine.py:environment --budget 100 --methods agent,magic", "there is no method 'magic'"),
        ("compare mine.py:environment --budget 100 --methods ' , '", "--methods names no method"),
        ("compare mine.py:environment --budget 100 --methods grid,random,grid", "--methods names 'grid' 2 times"),
        ("studies", "there is no store 'agenttts.db'"),
        # What typer finds is said in the same way.
        ("search", "Missing argument 'ENV'; --help tells more"),
        ("search mine.py:environment --nope", "No such option: --nope"),
        ("search mine.py:environment --trials many", "Invalid value for '--trials'"),
        ("search mine.py:environment --cost magic", "Invalid value for '--cost': 'magic' is not one of 'paper'"),
        ("find", "No such command 'find'"),
    ],
)
def test_bad_input_is_one_sentence_before_anything_is_bought(
    shell: Shell, endpoint: FakeEndpoint, command: str, message: str
) -> None:
    assert message in shell(command, code=2)
    assert endpoint.requests == [] and shell.files == set()


@pytest.mark.parametrize(
    "command", ["best nothing --store mine.py", "search mine.py:environment --budget 100 --store mine.py"]
)
def test_a_file_that_is_no_store_is_left_alone(shell: Shell, endpoint: FakeEndpoint, command: str) -> None:
    before = shell.folder.joinpath("mine.py").read_text()
    assert "cannot open the store" in shell(command, code=4)
    assert endpoint.requests == [] and shell.files == set()
    assert shell.folder.joinpath("mine.py").read_text() == before


def test_without_arguments_the_help_is_shown_once(shell: Shell) -> None:
    with shell.start("") as process:
        out, err = process.communicate(timeout=120)
    assert process.returncode == 2 and err == ""
    assert out.count("Usage: ") == 1 and out.strip() == shell("--help").strip()


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
    # A list of models does not settle it (routers and tags are not listed): one token is asked for.
    assert [(body["model"], body["max_tokens"]) for body in endpoint.requests] == [("large", 1)]
    assert shell.files == set()


def test_an_endpoint_that_cannot_be_reached_is_named(shell: Shell) -> None:
    shell.folder.joinpath("mine.py").write_text(PIPELINE.format(url="http://127.0.0.1:9/v1"))
    assert "cannot reach http://127.0.0.1:9/v1" in shell(SEARCH, code=3)
    assert shell.files == set()


def test_a_failing_server_ends_the_search_with_its_own_code(shell: Shell, endpoint: FakeEndpoint) -> None:
    endpoint.faults = [Fault(401, "no access")] * 100
    with shell.start(SEARCH) as process:
        out, err = process.communicate(timeout=120)
    assert process.returncode == 3 and err.startswith("error: every example failed") and err.count("\n") == 1
    assert out.startswith("environment  mine")  # by then the study had started


def test_spending_limits_end_a_search_well(shell: Shell) -> None:
    said = shell(f"{SEARCH.replace('--trials 5', '--trials 500')} --max-tokens 60")
    assert "of at most 60 (--max-tokens)" in said


def test_the_llm_planner_is_charged_and_traced(shell: Shell, endpoint: FakeEndpoint) -> None:
    def reply(messages: Any, seed: int) -> str:
        if "Reply with JSON" in messages[-1]["content"]:
            chosen = {"find": {"model": "small", "samples": 3}, "answer": {"model": "small", "samples": 2}}
            candidates = [{"rationale": "cheap", "allocation": chosen}]
            return json.dumps({"notes": "stay <script>small</script>", "candidates": candidates})
        return "since small <b>suffices</b>" if "Explain" in messages[-1]["content"] else "text"

    endpoint.reply = reply
    endpoint.models.append("wise")
    said = shell("search mine.py:environment --budget 100 --trials 8 --llm wise", OPENAI_BASE_URL=endpoint.url)
    assert "method       agent-wise" in said and "in the words of the planner: since small <b>suffices</b>" in said
    steps = shell.json("trace")
    assert any(step["node"] == "reflect" and step["planner"] == "wise" and step["tokens"] > 0 for step in steps)
    assert "<script>" in shell("trace")


def test_of_a_recording_what_the_llm_took_is_told_apart(shell: Shell, endpoint: FakeEndpoint) -> None:
    endpoint.models.append("wise")
    search = "search minihop-recorded --method llm-zs --llm wise --trials 1"
    said = shell(search, OPENAI_BASE_URL=endpoint.url)
    own = sum(step["tokens"] for step in shell.json("trace"))
    told = f"nothing was paid for but the {own:,} tokens of the method's own LLM"
    assert own > 0 and f"The search replayed ({told}): " in said
    assert told in " ".join(shell("trace").split())


@pytest.mark.slow
def test_a_comparison_gives_the_llm_to_the_methods_that_ask_one(shell: Shell, endpoint: FakeEndpoint) -> None:
    endpoint.models.append("wise")
    said = shell(
        "compare mine.py:environment --budget 100 --trials 2 --methods llm-zs,random --seeds 1 --llm wise --json",
        OPENAI_BASE_URL=endpoint.url,
    )
    assert [row["method"] for row in json.loads(said)] == ["llm-zs-wise", "random"]
    assert "filled in by rule" in shell("trace mine-flops100-llm-zs-wise-s0")
    # What one study found is the experience that another method begins with.
    begun = "search mine.py:environment --budget 100 --trials 1 --method mlcopilot --llm wise --experience"
    shell(f"{begun} mine-flops100-random-s0", OPENAI_BASE_URL=endpoint.url)
    trace = shell.json("trace mine-flops100-mlcopilot-wise-after-mine-flops100-random-s0-s0")
    told = [step for step in trace if step["node"] == "reflect"]
    assert "Trials of a similar pipeline" in told[0]["prompt"]
    assert "there is no study 'nothing'" in shell(f"{begun} nothing", code=2, OPENAI_BASE_URL=endpoint.url)
    compared = "compare mine.py:environment --budget 100 --trials 1 --seeds 2 --experience mine-flops100-random-s0"
    rows = json.loads(shell(f"{compared} --methods mlcopilot --llm wise --json", OPENAI_BASE_URL=endpoint.url))
    assert [row["method"] for row in rows] == ["mlcopilot-wise"]
    assert "has 2 trials, too few to be experience" in shell(f"{compared} --methods random", code=2)


def test_a_search_begins_with_the_experience_of_another(shell: Shell) -> None:
    shell("search mine.py:environment --budget 100 --trials 8 --method random")
    begun = "search mine.py:environment --budget 100 --trials 2 --method grid --experience"
    shell(f"{begun} mine-flops100-random-s0")
    trials = shell.json("trials mine-flops100-grid-after-mine-flops100-random-s0-s0")
    assert [row["searcher"] for row in trials] == ["baseline", "experience"]
    assert "first trial from experience (mine-flops100-random-s0)" in shell("trace")
    assert "there is no study 'nothing'" in shell(f"{begun} nothing", code=2)
    again = "search mine.py:environment --budget 100 --method random --experience all"
    # Its own study has the trials that experience takes when it is resumed, and is none.
    for trials in (8, 9):
        said = " ".join(shell(f"{again} --trials {trials}").split())
        assert "experience mine-flops100-random-s0 " in said and "mine-flops100-random-after-all-s0" in said
    # Nor does it teach what it is compared with, which begins only now.
    shell("compare mine.py:environment --budget 100 --methods random,grid --seeds 1 --trials 9 --experience all")
    compared = shell("trace mine-flops100-grid-after-all-s0")
    assert "first trial from experience (mine-flops100-random-s0)" in compared


def test_minihop_has_its_own_default_budget() -> None:
    from agenttts.environments import environment
    from agenttts.space import Budget

    assert environment("minihop").default_budget == Budget(700, "flops")
    assert [model.name for model in MODELS] == ["minihop-xs", "minihop-s", "minihop-m", "minihop-l"]


def test_an_interrupt_ends_cleanly_and_the_search_goes_on(shell: Shell, endpoint: FakeEndpoint) -> None:
    endpoint.delay_s = 0.05
    with shell.start(SEARCH) as process:
        assert process.stdout is not None
        while not process.stdout.readline().startswith("trial"):
            assert process.poll() is None
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
    assert process.returncode == 130 and err == "interrupted: run the same command again to go on\n"
    endpoint.delay_s = 0.0
    again = shell(SEARCH)
    assert "resumed with " in again and len(shell.json("trials")) == 5


@pytest.mark.parametrize("phase", ["starting", "searching"])
def test_an_interrupt_leaves_no_model_server(shell: Shell, phase: str) -> None:
    with shell.start("search minihop --llm none --trials 1") as process:
        assert process.stdout is not None
        if phase == "searching":
            process.stdout.readline()
        while len(servers := children(process.pid)) < 4:
            assert process.poll() is None
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    assert process.returncode == 130 and err == "interrupted: run the same command again to go on\n"
    assert "trial" not in out
    assert not any(Path(f"/proc/{server}").exists() for server in servers)


def children(pid: int) -> list[int]:
    return [int(child) for path in Path(f"/proc/{pid}/task").glob("*/children") for child in path.read_text().split()]


TAKES_DATA = (
    PIPELINE
    + """

def task(data=None):
    return at.LiveEnvironment(pipeline, data or rows[:5], held_out=rows[5:])
"""
)


def test_examples_and_endpoints_are_the_users(shell: Shell, endpoint: FakeEndpoint) -> None:
    (shell.folder / "mine.py").write_text(TAKES_DATA.format(url="http://127.0.0.1:9/v1"))
    rows = [{"id": f"d{i}", "question": f"p{i}", "gold": "text"} for i in range(4)]
    (shell.folder / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    routed = f"--data rows.jsonl --endpoint small={endpoint.url} --endpoint large={endpoint.url}"
    out = shell(f"{SEARCH.replace(':environment', ':task')} {routed}")
    assert "environment  mine: 4 examples, 3 held out" in out and "data         rows.jsonl" in out
    assert shell.json("studies")[0]["data"] == "rows.jsonl"
    # Without the data they are other examples: the study of the first is not resumed with them.
    (shell.folder / "mine.py").write_text(TAKES_DATA.format(url=endpoint.url))
    assert "the examples" in shell(SEARCH.replace(":environment", ":task"), code=2)
    for option, message in [
        (f"--endpoint {endpoint.url}", "--endpoint takes MODEL=URL"),
        ("--endpoint small=localhost", "--endpoint takes MODEL=URL"),
        (f"{routed} --endpoint small={endpoint.url}", "--endpoint names the model 'small' twice"),
        ("--data rows.jsonl", "takes no data"),
    ]:
        assert message in shell(f"{SEARCH} {option}", code=2)


def test_patience_is_an_option_and_a_time_out_names_it(shell: Shell, endpoint: FakeEndpoint) -> None:
    endpoint.delay_s = 1.0
    with shell.start(f"{SEARCH} --timeout 0.2 --retries 0 --max-in-flight 2") as process:
        _, err = process.communicate(timeout=120)
    assert process.returncode == 3 and err.startswith("error: ") and err.count("\n") == 1
    assert "did not answer within 0.2 s; more time is had with --timeout" in err
