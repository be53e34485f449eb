"""ChatDev: SRDD's formats, the measures by hand, and the three stages from end to end over HTTP and in the sandbox."""

from __future__ import annotations

import ast
import csv
import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agenttts.db import Store
from agenttts.environments import LiveEnvironment, environment
from agenttts.environments.tasks.chatdev import Program, chatdev, completeness, consistency, quality, sandbox
from agenttts.environments.tasks.chatdev.files import read_files, written
from agenttts.environments.tasks.chatdev.program import bare_code, complaint, cosine, ran, run
from agenttts.errors import ConfigError, ParseError
from agenttts.execution.pool import SamplePool
from agenttts.space import SearchSpace
from agenttts.space.allocation import Allocation
from agenttts.space.cost import FlopsCost, PaperCost
from agenttts.study.evaluation import Evaluation
from tests.endpoint import FakeEndpoint
from tests.environments.tasks.data import OWN, SAMPLES

SRDD = OWN / "srdd.csv"
STAGES = ("coding", "static_testing", "dynamic_testing")
CHAT = ["meta-llama/Llama-3.2-3B-Instruct", "meta-llama/Llama-3.1-70B-Instruct"]
WORDS = ("tide", "time", "print", "next", "high", "count")
KINDS = {
    "merge": "Several candidate replies",
    "write": "Write the program that this description asks for",
    "complete": "Some of its parts are not written yet",
    "review": "Read it without running it",
    "revise": "Make this change",
    "explain": "Say in a few sentences where and why",
    "mend": "Mend it.",
}
GOOD = {
    "main.py": "import tide\nprint(tide.next_high())\n",
    "tide.py": "def next_high():\n    return 'high at 12:25'\n",
}


def counted(text: str) -> list[float]:
    """An embedding that can be checked by hand: how often each of a few words occurs."""
    return [float(text.lower().count(word)) for word in WORDS]


def kind_of(messages: Sequence[dict[str, str]]) -> str:
    text = "\n".join(message["content"] for message in messages)
    return next(kind for kind, mark in KINDS.items() if mark in text)


@pytest.fixture
def served(endpoint: FakeEndpoint, monkeypatch: pytest.MonkeyPatch) -> FakeEndpoint:
    """An endpoint with both models and embeddings, whose programs are good and whose reviews find nothing."""
    monkeypatch.setenv("OPENAI_BASE_URL", endpoint.url)
    endpoint.models, endpoint.embedding = CHAT, counted
    endpoint.reply = scripted({})
    return endpoint


def scripted(replies: dict[str, str]) -> Callable[[Sequence[dict[str, str]], int], str]:
    """What is said in each kind of turn; a merge says what the turn that it merges says."""
    said = {"write": written(GOOD), "review": "FINISHED", **replies}

    def reply(messages: Sequence[dict[str, str]], seed: int) -> str:
        kind = kind_of(messages)
        return said[kind_of(messages[1:]) if kind == "merge" else kind]

    return reply


async def evaluated(samples: int = 1, examples: int = 1) -> Evaluation:
    live = environment("chatdev", data=str(SRDD))
    assert isinstance(live, LiveEnvironment)
    async with live:
        return await live.evaluate(each(samples), live.examples[:examples])


def each(samples: int = 1, model: str = "Llama-3.2-3B") -> Allocation:
    return Allocation({name: (model, samples) for name in STAGES})


def turns(endpoint: FakeEndpoint) -> list[tuple[str, int]]:
    """Kind of each turn asked for, and samples in all; merges are named after what they merge."""
    found: dict[str, int] = {}
    for body in endpoint.requests:
        if "messages" in body:
            kind = kind_of(body["messages"])
            name = f"merge {kind_of(body['messages'][1:])}" if kind == "merge" else kind
            found[name] = found.get(name, 0) + body.get("n", 1)
    return list(found.items())


async def test_a_good_program_passes_through_all_stages(served: FakeEndpoint) -> None:
    evaluation = await evaluated(examples=10)
    assert evaluation.failures == 0 and turns(served) == [("write", 10), ("review", 10)]
    with SRDD.open(newline="") as file:
        description = next(csv.DictReader(file))["Description"]
    expected = cosine(counted(description), counted(GOOD["main.py"] + GOOD["tide.py"]))
    assert 0 < expected < 1 and evaluation.results[0].score == pytest.approx(expected)
    scores = evaluation.results[0].subtask_scores
    assert scores == pytest.approx({"coding": 1, "static_testing": expected, "dynamic_testing": 1})


async def test_every_turn_draws_the_samples_and_merges_them(served: FakeEndpoint) -> None:
    served.reply = scripted(
        {
            "write": "main.py\n```python\ndef show():\n    pass  # TODO\nshow()\n```",
            "complete": "main.py\n```python\nimport clock\nclock.show()\n```",
            "review": "It imports clock, which is not there: write clock.py.",
            "revise": "clock.py\n```\nimport tides\n```",
            "explain": "There is no module tides, and clock lacks show.",
            "mend": "**clock.py**\n```\ndef show():\n    print('next high tide')\n```",
        }
    )
    evaluation = await evaluated(samples=3)
    kinds = ("write", "complete", "review", "revise", "explain", "mend")
    assert dict(turns(served)) == {**dict.fromkeys(kinds, 3), **{f"merge {kind}": 1 for kind in kinds}}
    assert evaluation.results[0].subtask_scores["dynamic_testing"] == 1
    assert "next high tide" in evaluation.results[0].output
    assert evaluation.usage["coding"].samples == 2 * (3 + 1)


async def test_the_traceback_of_the_sandbox_is_what_dynamic_testing_shows(served: FakeEndpoint) -> None:
    served.reply = scripted(
        {
            "write": "main.py\n```\nprint(object())\nraise LookupError(object())\n```",
            "explain": "It raises.",
            "mend": "main.py\n```\nraise LookupError('again')\n```",
        }
    )
    evaluation = await evaluated()
    asked = [body["messages"] for body in served.requests if "messages" in body]
    shown = next(messages[1]["content"] for messages in asked if kind_of(messages) == "explain")
    assert "LookupError: <object object at 0x...>\n(exit code 1)" in shown and 'main.py", line 2' in shown
    assert evaluation.results[0].subtask_scores["dynamic_testing"] == 0 and evaluation.failures == 0


async def test_turns_without_a_usable_reply_leave_the_program_as_it_is(served: FakeEndpoint) -> None:
    served.reply = scripted({"review": "Rename it.", "revise": "I would rather not."})
    evaluation = await evaluated(samples=2)
    assert evaluation.failures == 0 and evaluation.score > 0
    assert evaluation.usage["static_testing"].unparsable == 2


async def test_what_is_no_program_scores_zero_and_is_counted(served: FakeEndpoint) -> None:
    served.reply = scripted({"write": "I cannot write programs."})
    evaluation = await evaluated(samples=2, examples=2)
    assert (evaluation.score, evaluation.failures) == (0, 2)
    assert evaluation.results[0].error == "subtask 'coding': none of 2 samples was a program"


async def test_what_got_no_embedding_is_missing(served: FakeEndpoint) -> None:
    served.embedding = lambda text: [] if "seed" in text else counted(text)
    evaluation = await evaluated(examples=2)
    assert [result.score > 0 for result in evaluation.results] == [True]
    (reason,) = evaluation.missing.values()
    assert "no embedding" in reason


async def test_quality_can_be_searched_for_instead(served: FakeEndpoint) -> None:
    served.reply = scripted({"write": "main.py\n```\nraise ValueError('tide')\n```", "explain": "-", "mend": "-"})
    for metric, score in [(consistency, True), (quality, False)]:
        live = chatdev(str(SRDD), metric=metric)
        async with live:
            assert ((await live.evaluate(each(), live.examples[:1])).score > 0) == score


async def test_files_outside_the_folder_make_a_sample_unusable(served: FakeEndpoint) -> None:
    served.reply = scripted({"write": "../../evil.py\n```\nprint(1)\n```"})
    evaluation = await evaluated()
    assert evaluation.failures == 1 and evaluation.usage["coding"].unparsable == 1


async def test_embeddings_are_counted_as_spend_and_bought_once(served: FakeEndpoint) -> None:
    live = chatdev(str(SRDD))
    async with live:
        first = await live.evaluate(each(), live.examples[:1])
        again = await live.evaluate(each(), live.examples[:1])
    inputs = [body["input"] for body in served.requests if "input" in body]
    assert len(inputs) == 3 and inputs[0] == "ready"  # the check's word; then the description and the code, once each
    chat = sum(len(m["content"].split()) for body in served.requests for m in body.get("messages", []))
    assert first.spend.prompt_tokens == chat + sum(len(text.split()) for text in inputs[1:])
    assert again.spend.tokens == 0 and again.results == first.results


async def test_missing_embeddings_are_one_sentence_before_anything_is_bought(served: FakeEndpoint) -> None:
    served.embedding = None
    with pytest.raises(ConfigError, match="no embeddings from model 'text-embedding-ada-002'.*answered 404"):
        await evaluated()
    served.embedding = lambda text: []
    with pytest.raises(ConfigError, match="no embeddings from model .*no embedding; name a model and an endpoint"):
        await evaluated()
    assert not any("messages" in body for body in served.requests)


async def test_the_embedding_model_and_its_endpoint_can_be_named(
    served: FakeEndpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    usual = chatdev(str(SRDD)).fingerprint
    monkeypatch.setenv("AGENTTTS_EMBEDDING_MODEL", "bge-small")
    assert chatdev(str(SRDD)).fingerprint != usual
    await evaluated()
    assert {body["model"] for body in served.requests if "input" in body} == {"bge-small"}
    with FakeEndpoint() as other:
        other.embedding = counted
        live = environment("chatdev", data=str(SRDD), endpoints={"bge-small": other.url})
        assert isinstance(live, LiveEnvironment)
        async with live:
            assert other.requests and other.requests[0]["input"] == "ready"
        monkeypatch.setenv("AGENTTTS_EMBEDDING_URL", other.url)
        async with chatdev(str(SRDD)):
            assert len(other.requests) == 2


def test_costs_are_the_papers_and_both_turns_are_paid_for_elsewhere() -> None:
    live = chatdev(str(SRDD))
    space = SearchSpace(live.pipeline, PaperCost(), 1768)
    assert space.cost(each(model="Llama-3.1-70B")) == pytest.approx(1767.33, abs=0.01)
    assert space.cost(each()) == pytest.approx(70)
    assert space.size == 759_511  # the paper's space with 1 to 100 samples
    assert live.default_budget is not None and live.default_budget.amount == 1768
    stage = live.pipeline.subtask("coding")
    prompt, completion = stage.aggregator.extra_tokens(np.array([1, 4]), 100, 10)  # type: ignore[union-attr]  # it is a Fuse
    assert prompt.tolist() == [100, 100 + 2 * (100 + 4 * 10)] and completion.tolist() == [10, 4 * 10 + 2 * 10]
    assert FlopsCost().cost(stage, stage.models[0], 4) > 2 * FlopsCost().cost(stage, stage.models[0], 1)


def test_without_a_sandbox_the_task_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sandbox._run, "mechanisms", lambda: [])
    sandbox.require_sandbox.cache_clear()
    with pytest.raises(ConfigError, match="generated programs run only in a sandbox"):
        chatdev(str(SRDD))
    sandbox.require_sandbox.cache_clear()


@pytest.mark.parametrize(
    ("code", "complete"),
    [
        ("x = 1", 1),
        ("def f():\n    pass", 0),
        ("def f():\n    PASS = 1", 0),
        ("# TODO: more", 0),
        ("x = 'a todo list'", 0),  # the line counts, whatever it means
        ("check(password)\nif passed: board(passenger)\nthe_film_passes = 1", 1),
        ("password = None; pass", 1),  # one innocent word excuses its line
        ("", 1),
    ],
)
def test_completeness_by_hand(code: str, complete: float) -> None:
    assert completeness(Program({"main.py": code, "notes.txt": "todo"}), {}) == complete


@pytest.mark.parametrize(
    ("files", "executable"),
    [
        ({"main.py": "print(1)"}, True),
        ({"main.py": "while True: pass"}, True),
        ({"main.py": "input('> ')"}, True),
        ({"main.py": "import nowhere"}, False),
        ({"main.py": "def broken(:"}, False),
        ({"main.py": "import sys; sys.exit(3)"}, False),
        ({"main.py": "import traceback, sys\ntry: 1/0\nexcept ZeroDivisionError: traceback.print_exc()"}, False),
        ({"other.py": "print(1)"}, False),
        ({"main.py": "import socket; socket.create_connection(('127.0.0.1', 80))"}, False),
    ],
)
async def test_executability_by_running(files: dict[str, str], executable: bool) -> None:
    outcome = await run(files)
    assert ran(outcome) == executable
    assert executable or "exit code" in complaint(outcome)


def test_quality_is_the_product() -> None:
    program = Program({"main.py": "x"}, consistency=0.8, executability=1.0)
    assert quality(program, {}) == 0.8 and quality(Program({"main.py": "# todo"}, 0.8, 1.0), {}) == 0


def test_code_is_bared_of_comments_and_docstrings_alone() -> None:
    code = '''"""Module."""
import os  # why not

# alone
class A:
    """Of a class."""

    text = "# not a comment"
    def f(self):
        \'\'\'Of a
        function.\'\'\'; return """kept"""  # grün
'''
    assert bare_code(code) == (
        'import os\nclass A:\n    text = "# not a comment"\n    def f(self):\n        ; return """kept"""'
    )
    assert bare_code("broken(: # stays") == "broken(: # stays"
    assert bare_code("x = '\\d'  # odd escape") == "x = '\\d'"


PIECES = [
    "x = 1",
    "# note",
    "y = '# kept'",
    'def f(a):\n    """Doc: ä\n    \'\'\'"""; return a  # the end',
    "",
    "z = 2  # ü",
]


@given(st.lists(st.sampled_from(PIECES), max_size=8))
def test_baring_code_changes_nothing_but_docstrings(pieces: list[str]) -> None:
    code = "\n".join(pieces)
    bare = bare_code(code)
    without = ast.parse(code)
    for node in ast.walk(without):
        if isinstance(node, ast.FunctionDef):
            del node.body[0]
    # A semicolon that followed a docstring is left at the start of its line.
    assert ast.dump(ast.parse(bare.replace("    ; ", "    "))) == ast.dump(without)
    assert not {"note", "end", "ü", "Doc"} & set(re.findall(r"\w+", bare))


async def test_a_study_of_the_same_store_repeats_for_free(served: FakeEndpoint, tmp_path: Path) -> None:
    store = Store(str(tmp_path / "store.db"))
    evaluations = []
    for _ in range(2):
        live = chatdev(str(SRDD))
        async with live:
            evaluations.append(await live.evaluate(each(samples=2), pool=SamplePool(store.samples)))
    store.close()
    first, again = evaluations
    assert again.spend.tokens == again.spend.usd == 0 and again.results == first.results
    assert first.spend.usd > 0


def test_cosine_by_hand() -> None:
    assert cosine([1, 1, 0], [1, 0, 0]) == pytest.approx(2**-0.5) and cosine([2, 0], [5, 0]) == 1
    assert cosine([1, 0], [-1, 0]) == 0 and cosine([0, 0], [1, 0]) == 0


@pytest.mark.parametrize(
    ("reply", "names"),
    [
        ("Here it is.\n\nmain.py\n```python\nprint(1)\n```\nDone.", ["main.py"]),
        ("### `main.py`\n```\nprint(1)\n```\n\n**lib/a.py**:\n\n```py\nx = 1\n```", ["main.py", "lib/a.py"]),
        ("File: ./main.py\n```\nprint(1)\n```", ["main.py"]),
        ("```python\nprint(1)\n```", ["main.py"]),  # a single fence without a name
        ("data.json\n```json\n{}\n```\nmain.py\n```\nprint(1)\n```\n```\nunnamed\n```", ["data.json", "main.py"]),
    ],
)
def test_files_are_read_from_replies(reply: str, names: list[str]) -> None:
    files = read_files(reply)
    assert list(files) == names and (files["main.py"] == "print(1)\n")
    assert read_files(written(files)) == files


@pytest.mark.parametrize(
    "reply", ["no code", "a.txt\n```\nx\n```", "```\na\n```\n```\nb\n```", "../a.py\n```\nx\n```", "/a.py\n```\nx\n```"]
)
def test_replies_without_a_program_cannot_be_read(reply: str) -> None:
    with pytest.raises(ParseError):
        read_files(reply)


def test_srdd_is_read_in_all_its_forms(tmp_path: Path) -> None:
    with SRDD.open(newline="") as file:
        rows = list(csv.DictReader(file))
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    (tmp_path / "lines.json").write_text("\n".join(map(json.dumps, rows)))
    lists = {"names": [row["Name"] for row in rows], "tasks": [row["Description"] for row in rows]}
    (tmp_path / "tasks.json").write_text(json.dumps(lists))
    (tmp_path / "bom.csv").write_text("\ufeff" + SRDD.read_text())
    expected = [dict(chatdev(str(SRDD)).example(name)) for name in chatdev(str(SRDD)).examples]
    assert len(expected) == 10 and expected[3]["name"] == "Coin Sorter" and expected[3]["id"] == "srdd-0003"
    for name in ("rows.jsonl", "lines.json", "tasks.json", "bom.csv"):
        live = chatdev(str(tmp_path / name))
        assert [dict(live.example(example)) for example in live.examples] == expected


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.csv", "Name,Description\nX,does\nY,\n", r"a.csv, line 3: field 'Description' must be a text that is not"),
        ("a.csv", "Name,Category\nX,y\n", r"a.csv, line 2: field 'Description' is missing"),
        ("a.csv", 'Name,Description\nX,"do"es\n', r"a.csv, line 2: not valid CSV"),
        ("a.csv", "Name,Description\n", "there is no example in it"),
        ("a.jsonl", '{"Name": "X", "Description": 3}', r"a.jsonl, line 1: field 'Description' must be a text"),
        ("a.jsonl", '{"Name": "X"}', r"a.jsonl, line 1: field 'Description' is missing"),
        ("a.json", '{"names": ["a"], "tasks": []}', r"a.json: field 'tasks' is empty"),
        ("a.json", '{"names": ["a"], "tasks": ["b", "c"]}', r"field 'tasks' has 2 descriptions for 1 names"),
        ("a.json", '{"names": ["a"]}', r"a.json: field 'tasks' is missing"),
        ("a.json", '{"names": ["a"], "tasks": [" "]}', r"a.json, item 1: field 'Description' must be a text that is"),
    ],
)
def test_a_malformed_description_is_named_by_file_place_and_field(
    tmp_path: Path, name: str, text: str, message: str
) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(ConfigError, match=message):
        chatdev(str(tmp_path / name))


def test_no_data_is_one_sentence() -> None:
    with pytest.raises(ConfigError, match="brings no examples: give --data"):
        chatdev()
    with pytest.raises(ConfigError, match="cannot read the examples file 'nowhere.csv'"):
        chatdev("nowhere.csv")


@pytest.mark.skipif(not (SAMPLES / "srdd.jsonl").exists(), reason="the public samples are not here")
def test_the_public_samples_are_read() -> None:
    live = chatdev(str(SAMPLES / "srdd.jsonl"))
    assert (len(live.examples), len(live.held_out)) == (50, 70)
