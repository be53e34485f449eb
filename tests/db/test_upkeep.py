"""The size of a store, and making it smaller without losing what a study uses."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

import agenttts as at
from agenttts.cli.app import app
from agenttts.db import Store
from agenttts.environments import LiveEnvironment
from agenttts.errors import ConfigError
from agenttts.execution.pool import SamplePool
from agenttts.pipeline import Model, Sampling
from agenttts.searching import Limits
from agenttts.space import SearchSpace
from agenttts.study.trial import Proposal
from agenttts.testing import ScriptedClient


async def searched(store: Store, environment: LiveEnvironment, space: SearchSpace, trials: int = 2) -> int:
    """A search in the store; how many samples it asked for."""
    await at.search(
        environment, at.searcher("random", seed=0), space, store, study_name="one", limits=Limits(trials=trials)
    )
    return store.samples.count()


async def test_what_no_study_uses_is_deleted_and_the_rest_is_found_again(
    any_store: Store, toy_environment: LiveEnvironment, toy_space: SearchSpace
) -> None:
    mine = await searched(any_store, toy_environment, toy_space)
    other = ScriptedClient(lambda model, messages, position: "of no study" * 100)
    for number in range(30):
        messages = [{"role": "user", "content": f"{number}"}]
        await SamplePool(any_store.samples).draw(other, Model("m", 1e9), messages, Sampling(), 3)
    any_store.samples.close()
    before = any_store.upkeep.size()
    assert (before.studies, before.samples) == (1, mine + 90) and before.bytes > 0
    assert any_store.upkeep.prune() == (30, 90) and any_store.upkeep.prune() == (0, 0)
    any_store.upkeep.vacuum()
    after = any_store.upkeep.size()
    assert (after.trials, after.samples) == (before.trials, mine) and after.bytes < before.bytes
    client = toy_environment.client
    assert isinstance(client, ScriptedClient)
    requests = client.requests
    for trial in any_store.archive(any_store.study()).trials:
        await toy_environment.evaluate(trial.allocation, pool=SamplePool(any_store.samples))
    assert client.requests == requests


async def test_nothing_is_deleted_where_it_is_not_known_what_is_used(
    store: Store, toy_environment: LiveEnvironment, toy_space: SearchSpace
) -> None:
    mine = await searched(store, toy_environment, toy_space)
    store.samples.claim("k", "somebody", 60)
    with pytest.raises(ConfigError, match="a search is paying for samples of this store right now"):
        store.upkeep.prune()
    store.samples.release("k", "somebody")
    store.put_proposals(store.study(), [Proposal(toy_space.cheapest)], round=2)
    with pytest.raises(ConfigError, match="its study 'one' was stopped in the middle of a trial"):
        store.upkeep.prune()
    assert store.samples.count() == mine


async def test_the_command_tells_and_does_it(
    store: Store, toy_environment: LiveEnvironment, toy_space: SearchSpace
) -> None:
    mine = await searched(store, toy_environment, toy_space, trials=1)

    def run(*options: str) -> str:
        ended = CliRunner().invoke(app, ["store", "--store", store.location, *options], catch_exceptions=False)
        assert ended.exit_code == 0
        return ended.output

    assert f"1 studies, 1 trials, {mine} samples of " in run()
    told = json.loads(run("--json", "--prune", "--vacuum"))
    assert told["samples"] == mine and told["pruned_samples"] == 0 and told["freed_bytes"] >= 0
    assert "deleted 0 samples of 0 prompts that no study used" in run("--prune")
