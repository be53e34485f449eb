"""MLflow, Weights & Biases and Optuna hear of a search through their own clients."""

from __future__ import annotations

import json
import socket
import sqlite3
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import httpx
import optuna
import pytest

from agenttts.db import Store
from agenttts.environments import LiveEnvironment
from agenttts.errors import ConfigError
from agenttts.searching import search
from agenttts.searching.methods import searcher
from agenttts.searching.progress import Limits, SearchResult
from agenttts.searching.racing import Racing
from agenttts.space import SearchSpace
from agenttts.tracking import MlflowTracker, WandbTracker, export_to_optuna, tracker
from agenttts.tracking.base import Tracker

_HINT = "not installed: pip install 'agenttts[integrations]'"


async def tracked(
    told: Tracker | None, environment: LiveEnvironment, space: SearchSpace, store: Store, trials: int
) -> SearchResult:
    limits = Limits(trials=trials)
    agent = searcher("agent", llm="none")
    result = await search(
        environment, agent, space, store, study_name="it's", limits=limits, racing=Racing(look=5), on_progress=told
    )
    if told is not None:
        told.finish(result)
    return result


@pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy is deprecated")  # MLflow's own
async def test_mlflow_has_one_run_per_study_with_a_step_per_trial(
    toy_environment: LiveEnvironment, toy_space: SearchSpace, store: Store, tmp_path: Path
) -> None:
    client = pytest.importorskip("mlflow.tracking", reason=f"MLflow is {_HINT}").MlflowClient
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    for trials in (3, 5):
        result = await tracked(MlflowTracker(tracking_uri=uri), toy_environment, toy_space, store, trials)
    server = client(tracking_uri=uri)
    experiment = server.get_experiment_by_name("agenttts")
    (run,) = server.search_runs([experiment.experiment_id])
    assert run.info.status == "FINISHED" and run.data.params["environment"] == "toy"
    history = sorted(server.get_metric_history(run.info.run_id, "score"), key=lambda metric: metric.timestamp)
    assert len(history) == sum(len(trial.looks) for trial in result.archive.trials) > len(result.archive.trials)
    shown = {metric.step: metric.value for metric in history}
    assert shown == {trial.number: trial.evaluation.score for trial in result.archive.trials}
    assert run.data.metrics["best_score"] == result.best.evaluation.score
    assert result.validation is not None and run.data.metrics["held_out_score"] == result.validation.score
    assert run.data.tags["agenttts.space.allocation"] == result.best.allocation.key


async def test_wandb_has_a_row_per_trial(
    toy_environment: LiveEnvironment,
    toy_space: SearchSpace,
    store: Store,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    wandb = pytest.importorskip("wandb", reason=f"wandb is {_HINT}")
    for name, value in {"MODE": "offline", "DIR": str(tmp_path), "SILENT": "true"}.items():
        monkeypatch.setenv(f"WANDB_{name}", value)
    for trials in (3, 5):  # the second goes on with the study
        result = await tracked(WandbTracker(), toy_environment, toy_space, store, trials)
        wandb.teardown()  # as at the end of a process: only then is the file complete
        path = max(tmp_path.glob("wandb/offline-run-*/*.wandb"), key=lambda file: file.stat().st_mtime)
        held = path.read_bytes()  # records with JSON values
        for trial in result.archive.trials:
            assert json.dumps(str(trial.allocation)).encode() in held
        assert json.dumps(result.best.allocation.key).encode() in held and b"best_trial" in held
    assert len({file.name for file in tmp_path.glob("wandb/offline-run-*/*.wandb")}) == 1  # one run


def test_an_unknown_tracker_is_one_sentence() -> None:
    with pytest.raises(ConfigError, match="there is no tracker 'tensorboard'; there is mlflow and wandb"):
        tracker("tensorboard")


async def test_optuna_has_every_trial(
    toy_environment: LiveEnvironment, toy_space: SearchSpace, store: Store, tmp_path: Path
) -> None:
    result = await tracked(None, toy_environment, toy_space, store, 4)
    url = f"sqlite:///{tmp_path / 'optuna.db'}"
    for _ in range(2):  # an export takes the place of an earlier one
        assert export_to_optuna(store, result.study, url) == 4
    found = optuna.load_study(study_name="it's", storage=url)
    assert [trial.value for trial in found.trials] == [trial.evaluation.score for trial in result.archive.trials]
    for trial, ours in zip(found.trials, result.archive.trials, strict=True):
        assert {name: trial.params[f"{name}.model"] for name in ours.allocation} == {
            name: choice.model for name, choice in ours.allocation.items()
        }
        assert trial.user_attrs["cost"] == ours.cost and trial.user_attrs["rationale"] == ours.rationale
    assert found.best_value == max(trial.evaluation.score for trial in result.archive.trials)


async def test_what_cannot_be_exported_is_one_sentence(
    toy_environment: LiveEnvironment, toy_space: SearchSpace, store: Store, tmp_path: Path
) -> None:
    result = await tracked(None, toy_environment, toy_space, store, 1)
    url = f"sqlite:///{tmp_path / 'optuna.db'}"
    optuna.create_study(storage=url, study_name="it's")
    with pytest.raises(ConfigError, match='has a study "it\'s" which agenttts did not export'):
        export_to_optuna(store, result.study, url)
    with pytest.raises(ConfigError, match="'nothing://h/d' is no storage that Optuna can open"):
        export_to_optuna(store, result.study, "nothing://me:secret@h/d")


_CUT_OFF = """
import os, sys
from optuna.study import Study
from agenttts.cli import main

def killed(*_, **__):
    os._exit(9)

{cut}
sys.argv = ["agenttts", "export", "it's", "--store", sys.argv[1], "--optuna", sys.argv[2]]
main()
"""


@pytest.mark.parametrize("cut", [
    "Study.add_trials = killed",
    "Study.set_user_attr = killed",
    "import agenttts.tracking.optuna as ours; ours._rename = killed",
    "import optuna; optuna.delete_study = killed",
])  # fmt: skip
async def test_an_export_that_is_cut_off_leaves_a_whole_one(
    toy_environment: LiveEnvironment, toy_space: SearchSpace, store: Store, tmp_path: Path, cut: str
) -> None:
    result = await tracked(None, toy_environment, toy_space, store, 3)
    url = f"sqlite:///{tmp_path / 'optuna.db'}"
    export_to_optuna(store, result.study, url)
    program = [sys.executable, "-c", _CUT_OFF.format(cut=cut), store.location, url]
    assert subprocess.run(program, stderr=subprocess.DEVNULL).returncode == 9
    assert len(optuna.load_study(study_name="it's", storage=url).trials) == 3
    assert export_to_optuna(store, result.study, url) == 3
    assert [each.study_name for each in optuna.get_all_study_summaries(url)] == ["it's"]


async def test_an_export_that_cannot_be_written_is_one_sentence(
    toy_environment: LiveEnvironment, toy_space: SearchSpace, store: Store, tmp_path: Path
) -> None:
    result = await tracked(None, toy_environment, toy_space, store, 2)
    path = tmp_path / "optuna.db"
    url = f"sqlite:///{path}?timeout=0.1"
    export_to_optuna(store, result.study, url)
    with sqlite3.connect(path) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(ConfigError, match="was cut off by OperationalError, and an earlier one stands"):
            export_to_optuna(store, result.study, url)
        other.rollback()
    assert len(optuna.load_study(study_name="it's", storage=url).trials) == 2


async def test_optuna_dashboard_shows_an_export(
    toy_environment: LiveEnvironment, toy_space: SearchSpace, store: Store, tmp_path: Path
) -> None:
    pytest.importorskip("optuna_dashboard", reason=f"optuna-dashboard is {_HINT}")
    result = await tracked(None, toy_environment, toy_space, store, 3)
    url = f"sqlite:///{tmp_path / 'optuna.db'}"
    export_to_optuna(store, result.study, url)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "optuna_dashboard._cli", url, "--port", str(port)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            shown = fetch(f"http://127.0.0.1:{port}/api/studies")
            (study,) = shown["study_summaries"]
            detail = fetch(f"http://127.0.0.1:{port}/api/studies/{study['study_id']}")
        finally:
            process.terminate()
    assert study["study_name"] == "it's" and len(detail["trials"]) == 3
    assert {param["name"] for param in detail["trials"][0]["params"]} >= {"find.model", "find.samples"}


def fetch(url: str) -> Any:
    deadline = time.monotonic() + 40
    while True:
        try:
            return httpx.get(url, timeout=20).raise_for_status().json()
        except httpx.HTTPError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.2)
