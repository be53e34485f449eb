"""Several processes on one study: nothing is bought twice, no trial is lost, and no secret is kept."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text

from agenttts.baselines import RandomSearcher
from agenttts.db import Store
from agenttts.environments import LiveEnvironment
from agenttts.errors import StoreError
from agenttts.llm.samples import Sample, Spend, StoredPrompt
from agenttts.searching import search
from agenttts.searching.progress import Limits
from agenttts.space import SearchSpace
from agenttts.space.allocation import Allocation
from agenttts.study.trial import Archive, Proposal
from tests.endpoint import FakeEndpoint
from tests.postgresql import ESCAPED_PASSWORD, PASSWORD, PostgreSQL

PIPELINE = """
import agenttts as at

models = [at.Model("small", 1e6, base_url="{url}"), at.Model("large", 8e6, base_url="{url}")]
find = at.Subtask("find", models, "find {{{{ question }}}}", prompt_tokens=5, completion_tokens=2, max_samples=4)
answer = at.Subtask("answer", models, "{{{{ question }}}} {{{{ find }}}}", prompt_tokens=6, completion_tokens=2,
                    max_samples=4)
rows = [{{"id": str(i), "question": f"q{{i}}", "gold": "text"}} for i in range(6)]
environment = at.LiveEnvironment(at.Pipeline("mine", (find, answer), at.metrics.exact_match("gold")), rows)
"""


def agenttts(folder: Path, command: str, store: str) -> subprocess.Popen[str]:
    """The command line, begun."""
    variables = {k: v for k, v in os.environ.items() if not k.startswith(("OPENAI_", "AGENTTTS_"))}
    return subprocess.Popen(
        [sys.executable, "-c", "from agenttts.cli import main; main()", *command.split(), "--store", store],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=folder, env=variables,
    )  # fmt: skip


def bought(endpoint: FakeEndpoint) -> Counter[tuple[str, str, int]]:
    """How often each sample (model, prompt, seed) was sold."""
    return Counter(
        (body["model"], body["messages"][-1]["content"], body["seed"] + choice)
        for body in endpoint.requests
        for choice in range(body.get("n", 1))
    )


def test_processes_that_share_a_study_buy_nothing_twice(
    any_url: str, any_store: Store, endpoint: FakeEndpoint, tmp_path: Path
) -> None:
    endpoint.reply = lambda messages, seed: "text" if seed % 3 else "other"
    endpoint.delay_s = 0.05
    (tmp_path / "mine.py").write_text(PIPELINE.format(url=endpoint.url))
    command = "search mine.py:environment --budget 100 --trials 6 --study shared --method random"
    processes = [agenttts(tmp_path, command, any_url) for _ in range(2)]
    for process in processes:
        output, _ = process.communicate(timeout=120)
        assert process.returncode == 0, output
    sold = bought(endpoint)
    assert set(sold.values()) == {1}
    assert any_store.samples.count() == len(sold)
    study = any_store.study("shared")
    trials = any_store.archive(study).trials
    assert len(trials) >= 6 and [trial.number for trial in trials] == list(range(1, len(trials) + 1))
    assert len({trial.allocation for trial in trials}) == len(trials)
    assert any_store.spend(study).requests == len(endpoint.requests)


def test_a_store_is_created_once_however_many_open_it_first(any_url: str) -> None:
    with ThreadPoolExecutor(8) as threads:
        stores = list(threads.map(Store, [any_url] * 8))
    for store in stores:
        assert store.studies() == []
        store.close()


@pytest.mark.parametrize(("max_tokens", "stopped"), [(None, "4 trials done"), (900, "of at most 900")])
async def test_a_search_takes_in_what_another_process_did(
    store: Store, toy_environment: LiveEnvironment, toy_space: SearchSpace, max_tokens: int | None, stopped: str
) -> None:
    elsewhere = Store(store.location)
    theirs = Allocation({"find": ("small", 2), "answer": ("small", 2)})
    spend = Spend(requests=1, prompt_tokens=1_000)

    class Overtaken(RandomSearcher):
        async def propose(self, archive: Archive, space: SearchSpace, count: int) -> list[Proposal]:
            if not archive.trials:
                study, evaluation = elsewhere.study(), await toy_environment.evaluate(theirs)
                prompt = StoredPrompt("k", "small", "search", [], {}, 1_000)
                elsewhere.samples.add(prompt, 0, [Sample("a", 0)], spend=spend, study_id=study.id)
                elsewhere.add_trial(study, Proposal(theirs), evaluation, cost=1, searcher="theirs", round=0)
            return await super().propose(archive, space, count)

    limits = Limits(trials=4, max_tokens=max_tokens)
    result = await search(toy_environment, Overtaken(), toy_space, store, study_name="shared", limits=limits)
    assert stopped in result.stopped
    assert result.archive == store.archive(result.study)
    assert [trial.searcher for trial in result.archive.trials].count("theirs") == 1
    elsewhere.close()


def test_the_password_of_a_store_is_never_shown_nor_kept(
    postgresql: PostgreSQL, endpoint: FakeEndpoint, tmp_path: Path
) -> None:
    url = postgresql.new_database()
    (tmp_path / "mine.py").write_text(PIPELINE.format(url=endpoint.url))
    process = agenttts(tmp_path, "search mine.py:environment --budget 100 --trials 1 --method random", url)
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 0 and "agenttts trace" in output
    engine = create_engine(url.replace("postgresql:", "postgresql+psycopg:"))
    with engine.connect() as connection:
        kept = str(connection.execute(text("SELECT details FROM studies")).scalar_one())
    engine.dispose()
    assert "--store postgresql://127.0.0.1" in kept
    for secret in (PASSWORD, ESCAPED_PASSWORD, "s3cret"):
        assert secret not in output and secret not in kept


@pytest.mark.parametrize(
    ("password", "database", "reason"),
    [("wr0ng", "postgres", "password authentication failed"), (ESCAPED_PASSWORD, "none", 'database "none" does not')],
)
def test_a_postgresql_that_refuses_ends_a_command_with_its_own_code(
    postgresql: PostgreSQL, tmp_path: Path, password: str, database: str, reason: str
) -> None:
    command = agenttts(tmp_path, "studies", postgresql.url(database, password=password))
    output, _ = command.communicate(timeout=60)
    assert command.returncode == 4
    assert output.startswith("error: cannot open the store postgresql://agenttts:***@127.0.0.1:") and reason in output
    assert output.count("\n") == 1 and password not in output


def test_without_psycopg_the_mend_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(StoreError, match=r"needs psycopg, .*pip install .*\[postgres\]"):
        Store("postgresql://user@127.0.0.1/db")
