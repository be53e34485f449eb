"""Text from outside: nothing of it steers a terminal, ends a command or is lost in a database."""

from __future__ import annotations

import ast
import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import unicodedata
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import agenttts
import agenttts as at
from agenttts._util.text import printable, scrubbed, storable
from agenttts.baselines import RandomSearcher
from agenttts.db import Store
from agenttts.searching.recording import record
from agenttts.space import SearchSpace
from agenttts.study.trial import AgentStep, Archive, Proposal
from agenttts.testing import ScriptedClient
from tests.faults.commands import run

CONTROLS = "\x1b]0;owned\x07\x1b[2J\x9b31m\r\b\x7f"
NASTY = f"{CONTROLS} \u202eevil\u2066\u200b\u061c\ufeff\u2028\u2029\u00ad\U000e0041 \0 \ud800 \udc80"
PACKAGE = Path(agenttts.__file__).parent
READERS = [
    "studies", "trials", "trials --by-score", "trace", "trace --trial 1", "trace --prompts", "best",
    "best --format json", "watch --once", "frontier", "report -o page.html", "environments",
]  # fmt: skip


class Planner(RandomSearcher):
    """Writes what a hostile planner may write."""

    name = "random"
    journal: Any = None

    async def propose(self, archive: Archive, space: SearchSpace, count: int) -> list[Proposal]:
        self.journal(
            AgentStep(
                round=len(archive.trials), node="reflect", planner="p" + NASTY, text=f"learned {NASTY}",
                prompt=NASTY, reply=NASTY,
            )
        )  # fmt: skip
        found = await super().propose(archive, space, count)
        return [Proposal(each.allocation, f"because {NASTY}") for each in found]


async def search(toy_pipeline: at.Pipeline, toy_space: SearchSpace, store: Store, name: str) -> at.SearchResult:
    """A study in which everything that comes from outside is hostile."""
    rows = [{"id": f"e{i}{NASTY}", "question": f"{i}{NASTY}", "gold": "yes"} for i in range(6)]
    rows[1]["id"], rows[2]["id"] = "e\ud800", "e\udc00"  # different, and both half a pair
    rows[3]["id"] = "e\0"

    def reply(model: Any, messages: Any, position: int) -> str:
        if messages[-1]["content"].startswith("3"):
            raise at.EndpointError(f"the server said {NASTY}", status=400)
        return "yes" if position % 2 else NASTY

    environment = at.LiveEnvironment(toy_pipeline, rows[:5], held_out=rows[5:], client=ScriptedClient(reply))
    limits = at.Limits(trials=3)
    return await at.search(environment, Planner(), toy_space, store, study_name=name, limits=limits)


@pytest.fixture
async def folder(
    toy_pipeline: at.Pipeline, toy_space: SearchSpace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Path:
    """Where a hostile study lies, which is made the working folder."""
    monkeypatch.chdir(tmp_path)
    store = Store("agenttts.db")
    await search(toy_pipeline, toy_space, store, f"study{NASTY}")
    store.close()
    return tmp_path


def is_plain(text: str) -> bool:
    return all(c in "\n\t" or unicodedata.category(c) not in ("Cc", "Cf", "Cs", "Zl", "Zp", "Cn") for c in text)


@pytest.mark.parametrize("encoding", ["utf-8", "ascii", "cp1252"])
def test_every_command_that_reads_shows_plain_text_in_every_encoding(
    folder: Path, monkeypatch: pytest.MonkeyPatch, encoding: str
) -> None:
    for command in [
        *READERS,
        *(f"{each} --json" for each in READERS if not each.startswith(("best", "watch", "report"))),
    ]:
        ended = run(command, monkeypatch, encoding=encoding)
        assert ended.code == 0, (command, ended)
        assert is_plain(ended.out) and is_plain(ended.err) and ended.out, command
        if "json" in command:
            json.loads(ended.out)
    page = re.sub(r"<script[^>]*>.*?</script>", "", (folder / "page.html").read_text("utf-8"), flags=re.DOTALL)
    assert is_plain(page) and "evil" in page


@pytest.mark.parametrize("command", ["trials no\udcff\x1b[31m\u202e", "trials --store no\u202e.db", "search \x1b[2Jx",
                                     "search minihop --cost \x1b[2J", "trace --trial 99"])  # fmt: skip
@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
def test_errors_are_one_plain_line(folder: Path, monkeypatch: pytest.MonkeyPatch, command: str, encoding: str) -> None:
    ended = run(command, monkeypatch, encoding=encoding)
    assert ended.code == 2 and ended.err.startswith("error: ") and ended.err.count("\n") == 1
    assert is_plain(ended.err) and not ended.out


def test_log_records_are_plain(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import logging

    with monkeypatch.context() as patch:
        # pytest's own handler would keep the record, which no text of a report between its processes may hold.
        patch.setattr(logging.getLogger("agenttts"), "propagate", False)
        patch.setattr("agenttts.cli.read.open_store", lambda _: logging.getLogger("agenttts.x").warning(NASTY))
        ended = run("--log warning studies", monkeypatch)
    assert "\\x1b]0;owned" in ended.err and is_plain(ended.err)


async def test_what_was_paid_for_is_kept_and_read_again(
    any_store: Store, toy_pipeline: at.Pipeline, toy_space: SearchSpace
) -> None:
    result = await search(toy_pipeline, toy_space, any_store, f"study{NASTY}")
    kept = any_store.archive(any_store.study(f"study{NASTY}"))
    assert [trial.evaluation for trial in kept.trials] == [trial.evaluation for trial in result.archive.trials]
    names = {each.example for each in kept.trials[0].evaluation.results}
    assert len(names) == 5 and {"e\\ud800", "e\\udc00", "e\\x00"} <= names
    assert any_store.steps(result.study)[0].reply == storable(NASTY)
    again = await search(toy_pipeline, toy_space, any_store, f"study{NASTY}")
    assert len(again.archive.trials) == 3 and again.spend.tokens == result.spend.tokens


class Named(at.Environment):
    """A plug-in whose names are whatever they are."""

    def __init__(self, pipeline: at.Pipeline, **names: Any) -> None:
        self.pipeline, self.examples = pipeline, ["1", "2"]
        self.name = "named"
        vars(self).update(names)

    async def evaluate(self, allocation: Any, examples: Any = None, *, pool: Any = None) -> at.Evaluation:
        return at.Evaluation(results=tuple(at.ExampleResult(example=name, score=0.5) for name in examples))


@pytest.mark.parametrize(("names", "sentence"), [
    ({"name": "n\0"}, r"the environment Named: name must be text without NUL or half a surrogate pair, not 'n\\x00'"),
    ({"name": "n\udc80"}, "the environment Named: name must be text without NUL or half a surrogate pair"),
    ({"examples": ["1", "2\0"]}, "environment 'named': examples must be a list of texts without NUL"),
    ({"examples": ("\ud83d", "2")}, "environment 'named': examples must be a list of texts without NUL"),
    ({"examples": [1, 2]}, "environment 'named': examples must be a list of texts .*, not 1"),
    ({"examples": "12"}, "environment 'named': examples must be a list of texts .*, not '12'"),
    ({"held_out": ["h\0"]}, "environment 'named': held_out must be a list of texts without NUL"),
])  # fmt: skip
def test_a_plug_ins_names_that_no_store_keeps_are_refused(
    toy_pipeline: at.Pipeline, toy_space: SearchSpace, names: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(at.ConfigError, match=sentence):
        at.SearchPlan(Named(toy_pipeline, **names), RandomSearcher(), toy_space, Store(), study_name="s")


def test_nothing_else_in_the_package_prints() -> None:
    """One module writes to the terminal; what runs in a process of its own (servers, sandbox) is not ours to show."""
    own_process = {"_start.py", "_namespaces.py", "_llamacpp_child.py", "_keeper.py"}
    found = [
        f"{path.relative_to(PACKAGE)}:{node.lineno} {what}"
        for path in sorted(PACKAGE.rglob("*.py"))
        if path.name not in own_process and path.relative_to(PACKAGE) != Path("cli/console.py")
        for node, what in _writes(ast.parse(path.read_text("utf-8")))
    ]
    assert found == []


def _writes(tree: ast.AST) -> Iterator[tuple[ast.expr, str]]:
    """Calls that print, and consoles or handlers that are made."""
    forbidden = {"print", "pprint", "echo", "secho", "Console", "StreamHandler", "basicConfig", "print_exc",
                 "print_exception", "style_error", "rprint"}  # fmt: skip
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and node.attr in ("stdout", "stderr", "__stdout__", "__stderr__"):
            if isinstance(node.value, ast.Name) and node.value.id == "sys":
                yield node, f"sys.{node.attr}"
        if not isinstance(node, ast.Call):
            continue
        called = node.func
        name = called.id if isinstance(called, ast.Name) else called.attr if isinstance(called, ast.Attribute) else ""
        of_console = isinstance(called, ast.Attribute) and name == "print"  # consoles come from the one factory
        if name in forbidden and not of_console:
            yield node, name
        if of_console and isinstance(called, ast.Attribute) and ast.unparse(called.value) in ("rich", "builtins"):
            yield node, ast.unparse(called)


@given(st.text(st.characters(codec=None)))
def test_one_function_makes_text_printable_and_one_storable(text: str) -> None:
    shown, kept = printable(text), storable(text)
    assert is_plain(shown) and printable(shown) == shown
    assert kept.encode() is not None and "\0" not in kept and storable(kept) == kept


@pytest.mark.parametrize("text", ["ordinary", "Grüße, 日本語, नमस्ते, עברית, 👍🏽", "a\nb\tc", "1 000 km", "x̂"])
def test_ordinary_text_stays_as_it_is(text: str) -> None:
    assert printable(text) == text and storable(text) == text


def test_pairs_of_surrogates_are_joined_and_halves_stay_apart() -> None:
    assert storable("\ud83d\ude00") == "😀" and storable("\ud800") != storable("\udc00")


def test_a_short_secret_is_taken_out_of_words_only_where_it_stands_alone() -> None:
    assert scrubbed("me and memory", ["me"]) == "*** and memory"


def test_evidence_stays_readable(store: Store) -> None:
    spec = replace(_spec(), pipeline="p\ud800")
    study = store.start("s\ud800\0", spec, {"data": "\ud800"})
    assert store.start("s\ud800\0", spec).id == study.id and study.details["data"] == "\\ud800"
    store.add_step(study, AgentStep(round=0, node="reflect", planner="p", evidence={"\0": ["\udfff", 1, None]}))
    assert store.steps(study)[0].evidence == {"\\x00": ["\\udfff", 1, None]}


def _spec() -> Any:
    from agenttts.study.spec import StudySpec

    return StudySpec(
        environment="e", pipeline="p", sizes={"s": {"m": 1.0}}, fingerprint="f", cost_model="flops", budget=1.0,
        pricing="x", method="random", seed=0, examples=1,
    )  # fmt: skip


@pytest.mark.parametrize("encoding", ["ascii", "cp1252"])
def test_commands_that_search_end_in_every_encoding(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, encoding: str
) -> None:
    monkeypatch.chdir(tmp_path)
    small = "--trials 2 --method random --budget 700 --cost flops"
    for command in (
        f"search minihop-recorded {small} --study 'é日本 \u202e'",
        "serve minihop --plan --gpus 1x80",
        "--help",
        "trials --help",
        "--version",
    ):
        ended = run(command, monkeypatch, encoding=encoding)
        assert ended.code == 0 and ended.out and is_plain(ended.out + ended.err), (command, ended)


def test_a_terminal_that_watches_gets_no_escape_sequence_of_a_planner(folder: Path) -> None:
    master, slave = os.openpty()
    program = "import sys; sys.argv = ['agenttts', 'watch', '--every', '0.2']; from agenttts.cli import main; main()"
    variables = {**os.environ, "TERM": "xterm", "PYTHONIOENCODING": "utf-8"}
    shown = b""
    with subprocess.Popen([sys.executable, "-c", program], stdout=slave, stderr=slave, env=variables) as process:
        os.close(slave)
        while b"evil" not in shown and (piece := os.read(master, 65536)):
            shown += piece
        process.send_signal(signal.SIGINT)
        with contextlib.suppress(OSError):  # how Linux says that the other end is closed
            while piece := os.read(master, 65536):
                shown += piece
    os.close(master)
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown.decode()).replace("\r", "")  # rich's own
    assert process.returncode == 0 and "\\x1b]0;owned" in text and is_plain(text)


async def test_recorded_rows_keep_their_ids(tmp_path: Path, toy_space: SearchSpace) -> None:
    names = ["a\0", "a", "b\ud800", "b\udc00", "=1", "\x1b[2J"]
    rows = [
        {"s.model": "m", "s.samples": 1, "example": name, "score": 0.5, "held_out": name.startswith("b")}
        for name in names
    ]
    stage = at.Subtask("s", (at.Model("m", 1e6),), "x", prompt_tokens=5, completion_tokens=2, max_samples=4)
    pipeline = at.Pipeline("p", (stage,), metric=at.metrics.exact_match("gold"))
    environment = at.RecordedEnvironment(pipeline, rows)
    store, path = tmp_path / "s.db", tmp_path / "t.csv"
    await record(environment, environment.allocations, str(store), path)
    again = at.RecordedEnvironment(pipeline, path)
    assert (again.examples, again.held_out) == (environment.examples, environment.held_out)
    assert len({*again.examples, *again.held_out}) == len(names)
    assert at.RecordedEnvironment(pipeline, rows, held_out=["a\0"]).held_out == ("a\\x00",)
