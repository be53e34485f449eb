"""The true expected score of minihop's allocations, against the environment that replays one order of the samples."""

from __future__ import annotations

import numpy as np
import pytest

from agenttts.environments.tasks.minihop import expected_score, minihop_recorded
from agenttts.environments.tasks.minihop.expected import ORDERS
from agenttts.errors import ConfigError
from agenttts.space.allocation import Allocation
from tests.environments.test_minihop import both

ALLOCATIONS = [
    both(("xs", 41), ("m", 1)),
    *(
        pytest.param(each, marks=pytest.mark.slow)
        for each in (
            both(("xs", 1), ("xs", 1)),
            both(("s", 3), ("m", 3)),
            both(("m", 2), ("l", 4)),
            both(("l", 1), ("l", 32)),
        )
    ),
]


@pytest.mark.parametrize("allocation", ALLOCATIONS, ids=str)
async def test_the_environment_is_one_draw_around_the_expected_score(allocation: Allocation) -> None:
    environment = minihop_recorded()
    everything = [*environment.examples, *environment.held_out]
    drawn = (await environment.evaluate(allocation, everything)).score
    expected = expected_score(allocation)
    assert abs(drawn - expected.score) < 4 * expected.standard_error * ORDERS**0.5
    assert expected_score(allocation, everything) == expected


@pytest.mark.parametrize("allocation", ALLOCATIONS, ids=str)
def test_the_standard_error_is_small_and_true(allocation: Allocation) -> None:
    # A few orders, many times: their spread is what the standard error says, and they agree with many orders at once.
    few = [expected_score(allocation, orders=10, seed=seed) for seed in range(1, 17)]
    scores, claimed = [each.score for each in few], float(np.mean([each.standard_error for each in few]))
    assert 0.5 * claimed < np.std(scores, ddof=1) < 1.6 * claimed
    expected = expected_score(allocation)
    assert expected.standard_error < 0.001
    assert abs(np.mean(scores) - expected.score) < 4 * (claimed / 4 + expected.standard_error)


async def test_a_whole_recording_has_only_its_ties_left_to_chance() -> None:
    allocation = both(("m", 64), ("l", 32))
    environment = minihop_recorded()
    drawn = await environment.evaluate(allocation)
    expected = expected_score(allocation, environment.examples)
    assert expected.standard_error < 0.0005 and abs(drawn.score - expected.score) < 0.02


def test_what_was_not_recorded_is_refused() -> None:
    with pytest.raises(ConfigError, match="subtask 'retrieve' takes at most 64 samples, not 65"):
        expected_score(both(("xs", 65), ("xs", 1)))
    with pytest.raises(ConfigError, match="minihop has no example 'minihop-9999'"):
        expected_score(both(("xs", 1), ("xs", 1)), ["minihop-9999"])
