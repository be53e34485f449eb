"""Programs in any language are searched as they are: in Node, and as a shell script with curl."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

import agenttts as at
from agenttts.environments import LiveEnvironment
from agenttts.errors import ConfigError
from agenttts.llm.openai import OpenAIClient
from agenttts.report import read_said
from tests.endpoint import FakeEndpoint, Fault

NODE = """
const lines = require("readline").createInterface({ input: process.stdin });
async function ask(step, content) {
  const response = await fetch(process.env["AGENTTTS_STEP_" + step] + "/chat/completions", {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ model: "any", messages: [{ role: "user", content }] }),
  });
  const said = await response.json();
  if (!response.ok) throw new Error(said.error.message);
  return said.choices[0].message.content;
}
lines.on("line", async (line) => {
  const { question } = JSON.parse(line);
  const fact = await ask("find", "question " + question);
  const answer = await ask("answer", "Use " + fact);
  process.stdout.write(WRITTEN);
});
"""
CURL = """
question=$(sed 's/.*"question": "\\([^"]*\\)".*/\\1/')
ask() {
  curl --silent --fail-with-body "$OPENAI_BASE_URL/chat/completions" -H "Authorization: Bearer $OPENAI_API_KEY" \\
    -d "{\\"model\\": \\"step:$1\\", \\"messages\\": [{\\"role\\": \\"user\\", \\"content\\": \\"$2\\"}]}" |
    sed 's/.*"content": "\\([^"]*\\)".*/\\1/'
}
fact=$(ask find "question $question")
ask answer "Use $fact"
"""
PROMPT = '{"messages": [{"role": "user", "content": "question q0"}]}'
ENDS = (signal.SIGINT, signal.SIGTERM)
CHOSEN = at.Allocation({"find": ("large", 1), "answer": ("small", 3)})
needs_node = pytest.mark.skipif(shutil.which("node") is None, reason="Node is not installed")
needs_curl = pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")


def said(messages: Sequence[dict[str, str]], seed: int) -> str:
    """The fact of a question, and that as the answer: the first of three is wrong."""
    content = messages[-1]["content"]
    right = f"fact of {content.rpartition(' ')[2]}"
    return "wrong" if content.startswith("Use") and seed == 0 else right


def children() -> set[int]:
    """The processes that this one has started, and those that they have."""
    listed = subprocess.run(["ps", "-eo", "pid,ppid,comm"], capture_output=True, text=True, check=True).stdout
    rows = [line.split() for line in listed.splitlines()[1:]]
    parents = {int(pid): int(parent) for pid, parent, *name in rows if name != ["ps"]}
    found = added = {os.getpid()}
    while added:
        added = {pid for pid, parent in parents.items() if parent in found} - found
        found |= added
    return found


def environment(
    endpoint: FakeEndpoint, command: Any, rows: int = 2, names: Sequence[str] = ("find", "answer"), **stage: Any
) -> LiveEnvironment:
    endpoint.reply = said
    models = [at.Model(name, size, base_url=endpoint.url) for name, size in (("small", 1e6), ("large", 8e6))]
    stage = {"prompt_tokens": 10, "completion_tokens": 5, "max_samples": 6, **stage}
    stages = [at.Subtask(name, models, **stage) for name in names]
    pipeline = at.Pipeline("app", stages, at.metrics.equal("gold"), command=command)
    examples = [{"id": str(i), "question": f"q{i}", "gold": f"fact of q{i}"} for i in range(rows)]
    return LiveEnvironment(pipeline, examples)


def script(folder: Path, text: str, name: str = "app.sh") -> list[str]:
    path = folder / name
    path.write_text(text)
    return [{".js": "node", ".sh": "sh", ".py": sys.executable}[path.suffix], str(path)]


async def evaluated(found: LiveEnvironment, **choice: Any) -> at.Evaluation:
    async with found:
        return await found.evaluate(at.Allocation(choice) if choice else CHOSEN)


def programs() -> Sequence[Any]:
    return [
        pytest.param("app.js", NODE.replace("WRITTEN", "answer"), False, marks=[needs_node, pytest.mark.slow]),
        pytest.param("app.js", NODE.replace("WRITTEN", 'JSON.stringify(answer) + "\\n"'), True, marks=needs_node),
        pytest.param("app.sh", CURL, False, marks=needs_curl),
    ]


@pytest.mark.parametrize(("name", "text", "keep"), programs())
async def test_models_and_samples_come_from_the_allocation(
    endpoint: FakeEndpoint, tmp_path: Path, name: str, text: str, keep: bool
) -> None:
    before = children()
    command = at.Command(script(tmp_path, text, name), keep=keep, at_once=2)
    async with environment(endpoint, command) as found:
        evaluation = await found.evaluate(CHOSEN)
        asked = len(endpoint.requests)
        again = await found.evaluate(CHOSEN)
    assert (evaluation.score, evaluation.failures) == (1, 0), evaluation.errors
    assert evaluation.usage["find"].samples == 2 and evaluation.usage["answer"].samples == 6
    assert [body["model"] for body in endpoint.requests].count("large") == 2 and asked == len(endpoint.requests) == 4
    assert again.score == 1 and again.spend.tokens == 0 and again.spend.reused_tokens == evaluation.spend.tokens
    assert children() == before


FAILURES = {
    "ls /nowhere-at-all; exit 3": "it ended with exit status 3: ls: cannot access",
    "kill -SEGV $$": r"it was ended by signal 11 \(SIGSEGV\)",
    "true": "it printed nothing",
    "printf '\\377\\376'": "it printed what is no UTF-8 text",
    "yes": "it printed more than 1,048,576 bytes",
    "echo so far >&2; sleep 1000": "it took longer than 2 s: so far",
    "sleep 1000 & setsid sleep 1000 & exit 4": "it ended with exit status 4",
}


@pytest.mark.parametrize("text", FAILURES)
async def test_what_a_command_does_wrong_is_a_failed_example_and_nothing_is_left(
    endpoint: FakeEndpoint, text: str
) -> None:
    before = children()
    command = at.Command(["sh", "-c", text], timeout_s=2 if "so far" in text else 60)
    evaluation = await evaluated(environment(endpoint, command, rows=1))
    (result,) = evaluation.results
    assert result.score == 0 and evaluation.failures == 1
    assert re.search(f"^command .*: {FAILURES[text]}", result.error or ""), result.error
    assert children() == before


async def test_what_is_still_printed_when_it_is_told_to_end_holds_nobody_up(endpoint: FakeEndpoint) -> None:
    text = """
import os, signal, time
def say(kilobytes):
    for _ in range(kilobytes):
        os.write(1, b"y" * 1024)
signal.signal(signal.SIGTERM, lambda *_: (say(2**14), os._exit(0)))
say(1100)
time.sleep(1000)
"""
    async with asyncio.timeout(60):
        evaluation = await evaluated(environment(endpoint, [sys.executable, "-c", text], rows=1))
    assert "it printed more than 1,048,576 bytes" in (evaluation.results[0].error or "")


def curl(address: str, body: str) -> str:
    return f"curl --silent {address}/chat/completions -d '{body}'"


REFUSED = {
    curl(
        '"${AGENTTTS_STEP_find%/find/v1}/serach/v1"', "{}"
    ): "it asked step 'serach'; the pipeline's subtasks are find,",
    curl('"$OPENAI_BASE_URL"', '{"model": "gpt-x"}'): "it asked model 'gpt-x', which names no step: write step:NAME",
    curl('"$AGENTTTS_STEP_find"', "{"): "it sent a request that is no JSON",
    curl('"$AGENTTTS_STEP_find"', '{"messages": "x"}'): "step 'find' answers chat completions alone",
    curl('"$AGENTTTS_STEP_find"/embeddings', "{}"): "it asked for POST 'steps/find/v1/embeddings",
    curl('"$AGENTTTS_STEP_find"', '{"messages": [{"content": "x"}], "n": 2}'): "takes no 'n' in a request",
}


@needs_curl
@pytest.mark.parametrize("text", REFUSED)
async def test_a_request_that_no_step_answers_is_a_failed_example_whatever_the_program_makes_of_it(
    endpoint: FakeEndpoint, text: str
) -> None:
    command = ["sh", "-c", f"{text} >&2; echo fact of q0"]
    evaluation = await evaluated(environment(endpoint, command, rows=1))
    assert evaluation.failures == 1 and REFUSED[text] in (evaluation.results[0].error or ""), evaluation.errors
    assert not endpoint.requests


async def test_a_kept_program_that_prints_what_is_no_answer_fails_an_example_and_is_started_again(
    endpoint: FakeEndpoint,
) -> None:
    lines = {"0": "no json", "1": "null", "2": '"a"\n"b"', "4": ""}
    text = f"""
import json, sys
for line in sys.stdin:
    said = {lines!r}.get(json.loads(line)["id"], '"fact of q' + json.loads(line)["id"] + '"')
    print(said or sys.exit("it is enough"), flush=True)
"""
    command = at.Command([sys.executable, "-c", text], keep=True, at_once=1)
    evaluation = await evaluated(environment(endpoint, command, rows=6))
    errors = {result.example: result.error for result in evaluation.results if result.error}
    assert "a line that is no JSON" in errors["0"] and "answered null" in errors["1"]
    assert "it printed more than one line for an example" in errors["3"]  # it came before the question
    assert errors["4"].endswith("it ended with exit status 1: it is enough")
    assert [result.score for result in evaluation.results] == [0, 0, 0, 0, 0, 1]


@needs_curl
async def test_waiting_for_a_model_is_not_the_time_of_the_command(endpoint: FakeEndpoint) -> None:
    endpoint.delay_s = 4.5
    text = f"""{curl('"$AGENTTTS_STEP_find"', PROMPT)} | grep -q "fact of q0" && echo fact of q0"""
    evaluation = await evaluated(environment(endpoint, at.Command(["sh", "-c", text], timeout_s=4), rows=1))
    assert (evaluation.score, evaluation.failures) == (1, 0), evaluation.errors


@needs_curl
async def test_a_model_that_does_not_answer_is_missing_whatever_the_program_makes_of_it(endpoint: FakeEndpoint) -> None:
    ask = curl('"$AGENTTTS_STEP_find"', PROMPT)
    found = environment(endpoint, ["sh", "-c", f"{ask} >&2; echo fact of q0"], rows=2)
    endpoint.faults = [Fault(503)]
    found.client = OpenAIClient(max_retries=0)
    evaluation = await evaluated(found)
    assert len(evaluation.missing) == 1 and evaluation.failures == 0


@needs_curl
async def test_a_program_is_told_of_samples_that_cannot_be_used(endpoint: FakeEndpoint) -> None:
    ask = curl('"$AGENTTTS_STEP_find"', PROMPT)
    found = environment(endpoint, ["sh", "-c", f"{ask} --fail-with-body"], rows=1, parser=at.parsers.tagged("Answer:"))
    (result,) = (await evaluated(found)).results
    told = "it ended with exit status 22 (it had been told: subtask 'find': none of 1 samples could be parsed)"
    assert (result.error or "").endswith(told)


@needs_curl
async def test_tools_go_with_a_request_and_a_stream_is_one_chunk(endpoint: FakeEndpoint) -> None:
    tools = [{"type": "function", "function": {"name": "add", "parameters": {"type": "object"}}}]
    body = json.dumps({**json.loads(PROMPT), "tools": tools, "stream": True, "temperature": 2})
    found = environment(endpoint, ["sh", "-c", f"{curl('$OPENAI_BASE_URL', body)}"], rows=1, names=["answer"])
    (result,) = (await evaluated(found, answer=("small", 1))).results
    first, *_, last = result.output.splitlines()
    assert json.loads(first.removeprefix("data: "))["choices"][0]["delta"]["content"] == "fact of q0"
    assert last == "data: [DONE]"
    assert endpoint.requests[0]["tools"] == tools and endpoint.requests[0]["temperature"] == 0.9


async def test_an_address_is_that_of_one_process_and_one_example(endpoint: FakeEndpoint) -> None:
    text = """
import json, os, sys
for line in sys.stdin:
    print(json.dumps(os.environ["AGENTTTS_STEP_find"]), flush=True)
"""
    command = at.Command([sys.executable, "-c", text], keep=True, at_once=2)
    async with environment(endpoint, command) as found:
        one, two = [result.output for result in (await found.evaluate(CHOSEN)).results]
        pattern = r"http://127\.0\.0\.1:\d+/[\w-]{22}/steps/find/v1"
        assert one != two and re.fullmatch(pattern, one) and re.fullmatch(pattern, two)
        assert await asyncio.to_thread(status, one) == 409
        assert await asyncio.to_thread(status, one.replace("/steps", "x/steps")) == 404
    assert await asyncio.to_thread(status, one) == 0


def status(url: str) -> int:
    """That of an answer to a request; 0 where nobody listens."""
    request = urllib.request.Request(f"{url}/chat/completions", PROMPT.encode(), {"content-type": "application/json"})
    try:
        with urllib.request.urlopen(request) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        with error:
            return error.code
    except urllib.error.URLError:
        return 0


@pytest.mark.parametrize("number", [*(pytest.param(each, marks=pytest.mark.slow) for each in ENDS), signal.SIGKILL])
def test_nothing_is_left_running_however_a_search_ends(tmp_path: Path, number: signal.Signals) -> None:
    started, mark = tmp_path / "started", f"{tmp_path}/left"
    program = f"""
import asyncio, agenttts as at
stages = [at.Subtask("answer", [at.Model("m", 1e6, base_url="http://127.0.0.1:9/v1")])]
command = ["sh", "-c", "touch {started}; sleep 1000 & setsid sleep 1000; : {mark}"]
pipeline = at.Pipeline("app", stages, at.metrics.equal("gold"), command=command)
environment = at.LiveEnvironment(pipeline, [{{"id": "1", "gold": "x"}}])
asyncio.run(environment.evaluate(at.Allocation({{"answer": ("m", 1)}})))
"""
    before = sleeping()
    search = subprocess.Popen([sys.executable, "-c", program], stderr=subprocess.DEVNULL)
    wait_until(started.exists)
    wait_until(lambda: len(sleeping()) >= len(before) + 2)
    search.send_signal(number)
    search.wait(timeout=60)
    wait_until(lambda: sleeping() <= before)


def sleeping() -> set[int]:
    """All processes that sleep for 1000 seconds."""
    found = set()
    for each in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            found |= {int(each.parent.name)} if each.read_bytes() == b"sleep\x001000\x00" else set()
    return found


def wait_until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.slow
@needs_curl
async def test_a_command_is_searched_resumed_and_shown(endpoint: FakeEndpoint, tmp_path: Path) -> None:
    def one(trials: int) -> at.SearchPlan:
        found = environment(endpoint, script(tmp_path, CURL), rows=3)
        space = at.SearchSpace(found.pipeline, at.cost_model("flops"), 600)
        return at.SearchPlan(
            found, at.searcher("random"), space, str(tmp_path / "s.db"), study_name="s", limits=at.Limits(trials=trials)
        )

    assert (await at.search(one(2))).best.evaluation.failures == 0
    asked = len(endpoint.requests)
    result = await at.search(one(3))
    assert result.best.evaluation.failures == 0 and asked < len(endpoint.requests)
    store = at.Store(str(tmp_path / "s.db"))
    first = next(iter(read_said(store, store.study("s"), trial=1)))
    assert [stage.stage for stage in first.stages] == ["find", "answer"]
    store.close()


def test_the_files_that_a_command_names_identify_it(tmp_path: Path) -> None:
    def identity(text: str, *more: str, **options: Any) -> str:
        command = at.Command([*script(tmp_path, text), *more], **options)
        model = at.Model("m", 1e6)
        pipeline = at.Pipeline("app", [at.Subtask("answer", [model])], at.metrics.equal("gold"), command=command)
        assert "what the command " in pipeline.uncovered[-1] and "loads beside the files" in pipeline.uncovered[-1]
        return pipeline.fingerprint

    first = identity("a")
    assert first == identity("a", at_once=3)
    data = tmp_path / "data.json"
    data.write_text("1")
    with_data = identity("a", f"--data={data}")
    data.write_text("2")
    others = [identity("b"), identity("a", "--fast"), identity("a", keep=True), identity("a", timeout_s=5)]
    assert len({first, with_data, identity("a", f"--data={data}"), *others}) == 7


def test_mistakes_are_one_sentence(endpoint: FakeEndpoint) -> None:
    async def run(example: Any, steps: Any) -> str:
        return ""

    stages, metric = [at.Subtask("answer", [at.Model("m", 1e6)])], at.metrics.equal("gold")
    for command, message in [
        ("node app.js", r"a command is a list of words, not one text: \['node', 'app.js'\]"),
        ([], "a command needs at least the name of a program"),
        (["node", 3], "the words of a command must be a list of text .*, not 3"),
    ]:
        with pytest.raises(ConfigError, match=message):
            at.Pipeline("app", stages, metric, command=command)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="has a run function and a command"):
        at.Pipeline("app", stages, metric, run, command=["node"])
    with pytest.raises(ConfigError, match="is run by a command of its own: leave the prompt"):
        at.Pipeline("app", [at.Subtask("answer", [at.Model("m", 1e6)], "x")], metric, command=["node"])
    with pytest.raises(ConfigError, match="the command's program 'nod' was not found: install it, or give its path"):
        asyncio.run(evaluated(environment(endpoint, ["nod", "app.js"])))
