"""What a search will take is said before it takes anything, and a person is asked where it is much."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from agenttts.cli.forecast import forecast_of
from agenttts.db import Store
from agenttts.environments import LiveEnvironment
from agenttts.searching import search
from agenttts.searching.methods import searcher
from agenttts.searching.plan import SearchPlan
from agenttts.searching.progress import Limits
from agenttts.space import SearchSpace
from tests.cli.conftest import PIPELINE, SEARCH, Shell
from tests.endpoint import FakeEndpoint

PRICES = "usd_per_million_prompt_tokens=1e5, usd_per_million_completion_tokens=1e5, "


def priced(shell: Shell, endpoint: FakeEndpoint) -> None:
    text = PIPELINE.format(url=endpoint.url).replace("base_url=", f"{PRICES}base_url=")
    (shell.folder / "mine.py").write_text(text)


def test_a_dry_run_asks_nothing_and_leaves_nothing(shell: Shell, endpoint: FakeEndpoint) -> None:
    priced(shell, endpoint)
    out = shell(f"{SEARCH} --dry-run")
    assert "to expect" in out and " tokens in " in out and " USD (at most " in out
    rows = {line.split()[0]: line.split() for line in out.splitlines() if line.startswith(("small", "large"))}
    assert set(rows) == {"small"} and len(rows["small"]) == 7
    assert not endpoint.requests and {each.name for each in shell.folder.iterdir()} <= {"mine.py", "__pycache__"}
    limited = shell(f"{SEARCH} --dry-run --max-usd 0.5")
    assert "0.50 USD (at most 0.50)" in limited


def test_a_search_says_what_to_expect_and_the_next_one_knows_more(shell: Shell, endpoint: FakeEndpoint) -> None:
    endpoint.delay_s = 0.01
    first = shell(SEARCH)
    assert "to expect" in first and "earlier stud" not in first
    again = shell(f"{SEARCH} --dry-run")
    assert "1 earlier study of the pipeline; the pool holds " in again and ", about " in again


@pytest.mark.parametrize(("answer", "bought"), [("n", False), ("y", True)])
def test_a_person_is_asked_before_much_is_spent(
    shell: Shell, endpoint: FakeEndpoint, answer: str, bought: bool
) -> None:
    priced(shell, endpoint)
    master, slave = os.openpty()
    with shell.start(SEARCH, stdin=slave, stdout=slave, stderr=slave, variables={"TERM": "xterm"}) as process:
        os.close(slave)
        os.write(master, f"{answer}\n".encode())
        said = b""
        try:
            while piece := os.read(master, 65536):
                said += piece
        except OSError:  # how Linux says that the other end is closed
            pass
    os.close(master)
    assert process.returncode == 0 and b"Spend about " in said
    assert (b"not confirmed" in said) is not bought
    assert any("messages" in request and request.get("max_tokens") != 1 for request in endpoint.requests) is bought


def test_nobody_is_asked_where_there_is_no_terminal(shell: Shell, endpoint: FakeEndpoint) -> None:
    priced(shell, endpoint)
    assert "Spend about" not in shell(SEARCH)


async def test_what_is_spent_is_near_what_was_expected_once_lengths_are_known(
    toy_environment: LiveEnvironment, toy_space: SearchSpace, tmp_path: Path
) -> None:
    path, ratios = str(tmp_path / "runs.db"), []
    for seed in range(2):
        plan = SearchPlan(
            toy_environment,
            searcher("random", seed=seed),
            toy_space,
            path,
            study_name=f"s{seed}",
            seed=seed,
            limits=Limits(trials=3),
            counterfactuals=False,
        )
        found = forecast_of(plan)
        result = await search(plan)
        assert result.spend.tokens <= found.most_tokens
        ratios.append(found.tokens / result.spend.tokens)
    assert ratios[0] > 5 and ratios[1] < 3  # its lengths are declared far too long
    store = Store(path)
    assert found.earlier.studies == 1 and store.samples.count() >= found.earlier.samples > 0
    store.close()
