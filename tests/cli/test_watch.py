"""`agenttts watch`, `export`, `--log` and `--track`: what a search tells others than the terminal it runs in."""

from __future__ import annotations

import os
import pty
import re
import select
import signal
import subprocess
import sys
import time

import optuna
import pytest

from tests.cli.conftest import SEARCH, Shell


def test_a_study_is_watched_and_exported(shell: Shell) -> None:
    shell(f"{SEARCH} --study s")
    said, best = shell("watch s"), shell.json("best")
    assert said.startswith("study s\nmine, random, budget 100 MFLOP per query\n5 trials; ")
    assert best["searched"]["score"] == 1.0, "what dearer trials did just as well is not recommended"
    assert "Cheapest not shown to be worse: " in shell("trace")
    assert f" {best['searched']['score']:.3f} (" in said and f" by trial {best['trial']}\n" in said
    assert all(re.search(rf"^ *(baseline )?{number} ", said, re.MULTILINE) for number in range(1, 6))
    assert shell("export s --optuna sqlite:///o.db") == "wrote 5 trials of study s to sqlite:///o.db\n"
    found = optuna.load_study(study_name="s", storage=f"sqlite:///{shell.folder / 'o.db'}")
    assert len(found.trials) == 5


def test_watch_follows_a_study_in_a_terminal_until_interrupted(shell: Shell) -> None:
    shell(f"{SEARCH} --study s")
    ours, theirs = pty.openpty()
    with shell.start("watch s --every 0.2", stdout=theirs, stderr=theirs, variables={"COLUMNS": "100"}) as process:
        os.close(theirs)
        shown = read_until(ours, "5 trials")
        shell("search mine.py:environment --budget 100 --trials 6 --method random --study s")
        shown += read_until(ours, "6 trials")
        process.send_signal(signal.SIGINT)
        shown += read_until(ours, "")
        assert process.wait(30) == 0
    os.close(ours)
    assert "Traceback" not in shown


def read_until(terminal: int, text: str) -> str:
    """What a terminal shows up to a text; up to its end where that is empty."""
    shown, deadline = "", time.monotonic() + 60
    while time.monotonic() < deadline:
        if select.select([terminal], [], [], 0.2)[0]:
            try:
                shown += os.read(terminal, 65536).decode(errors="replace")
            except OSError:  # the other end is closed
                return shown
        if text and text in shown:
            return shown
    raise AssertionError(f"{text!r} was not shown:\n{shown}")


def test_a_study_without_a_trial_is_one_sentence(shell: Shell) -> None:
    assert "there is no store" in shell("watch", code=2)
    assert "there is no store" in shell("export", code=2)


def test_the_log_is_the_standard_librarys(shell: Shell) -> None:
    with shell.start(f"--log info {SEARCH}") as process:
        _, err = process.communicate(timeout=120)
    lines = err.splitlines()
    assert process.returncode == 0 and all(" INFO agenttts.searching." in line for line in lines)
    assert sum(": trial " in line for line in lines) == 5 and "recommends trial" in lines[-1]


def test_a_search_is_tracked_from_the_command_line(shell: Shell) -> None:
    pytest.importorskip("mlflow", reason="MLflow is not installed: pip install 'agenttts[integrations]'")
    uri = f"sqlite:///{shell.folder / 'mlflow.db'}"
    with shell.start(f"{SEARCH} --track mlflow", variables={"MLFLOW_TRACKING_URI": uri}) as process:
        process.communicate(timeout=120)
    assert process.returncode == 0
    code = "import sys; from mlflow.tracking import MlflowClient as C; c = C(sys.argv[1])\n"
    code += "(r,) = c.search_runs([c.get_experiment_by_name('agenttts').experiment_id])\n"
    code += "print(len(c.get_metric_history(r.info.run_id, 'score')), r.info.status)"
    done = subprocess.run([sys.executable, "-c", code, uri], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["5", "FINISHED"]
    assert "there is no tracker 'x'; there is mlflow and wandb" in shell(f"{SEARCH} --track x --study t", code=2)
