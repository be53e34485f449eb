"""`agenttts simulate`: a rehearsal from the command line, labelled at every step."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Iterator

import pytest

from tests.cli.conftest import Shell
from tests.environments.tasks.data import OWN

DATA = f"--data {OWN / 'hotpotqa.jsonl'}"


@pytest.fixture
def banner(shell: Shell) -> Iterator[list[str]]:
    """What a running simulation says first."""
    with shell.start(f"simulate hotpotqa {DATA} --port 0 --fault error=0.05", stderr=subprocess.STDOUT) as process:
        assert process.stdout is not None
        yield [process.stdout.readline().strip() for _ in range(5)]
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 0


@pytest.mark.slow
def test_a_rehearsal_is_labelled_wherever_it_shows(shell: Shell, banner: list[str]) -> None:
    assert banner[0] == "SIMULATION: no LLM runs, and no score says anything of a real model."
    assert "hotpotqa: 10 examples of" in banner[1]
    settings, _, command = banner[4].removeprefix("rehearse").strip().partition("agenttts ")
    variable = settings.split()[0]
    out = shell(f"{command} --trials 4", OPENAI_BASE_URL=variable.removeprefix("OPENAI_BASE_URL="))
    assert "environment  hotpotqa: 10 examples (simulated models; no LLM runs)" in out
    assert f"data         {OWN / 'hotpotqa.jsonl'}" in out and " simulated, " in out
    assert "The search simulated (nothing was paid for): " in out
    again = shell(f"{command} --trials 4", OPENAI_BASE_URL=variable.removeprefix("OPENAI_BASE_URL="))
    assert "resumed with 4 trials" in again
    assert "simulated" in shell("studies") and "simulated" in shell("trials")
    label = "simulated models; no LLM runs"
    assert label in shell("trace") and "Tokens simulated: " in shell("trace") and label in shell("watch --once")
    assert f"({label}) fits 1 unit" in shell("best --budget 1", code=2)
    shell("report -o r.html")
    page = (shell.folder / "r.html").read_text()
    assert "Tokens simulated" in page and "tokens simulated" in page and "eplayed" not in page.partition("<script")[0]
    limited = shell(f"{command} --study l --max-tokens 1", OPENAI_BASE_URL=variable.removeprefix("OPENAI_BASE_URL="))
    assert (
        "Stopped: reached " in limited and "tokens paid for" not in limited and "USD if they were paid for" in limited
    )
    assert shell.json("best")["recorded"] == shell.json("studies")[0]["recorded"] == "simulated models; no LLM runs"


def test_mistakes_are_one_sentence(shell: Shell) -> None:
    assert "there is no simulation of 'minihop'" in shell(f"simulate minihop {DATA}", code=2)
    assert "cannot read the examples file 'none.jsonl'" in shell("simulate cwq --data none.jsonl", code=2)
    assert "a fault is KIND=SHARE" in shell(f"simulate hotpotqa {DATA} --fault rain", code=2)
