"""Turns on GPUs that do not hold all models: few swaps, nobody forgotten, errors told to all who wait."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agenttts.errors import EndpointError
from agenttts.serving.turns import Turns


class Cards:
    """Notes who is awake, and that nobody else is asked."""

    def __init__(self) -> None:
        self.awake = 0
        self.order = [0]
        self.broken = False

    async def switch(self, shift: int) -> None:
        self.awake = -1
        await asyncio.sleep(0)
        if self.broken:
            raise EndpointError("it does not wake")
        self.awake = shift
        self.order.append(shift)


async def walk(turns: Turns, cards: Cards, stages: list[int]) -> None:
    """One example: a request at each of its stages."""
    for shift in stages:
        async with turns.turn(shift):
            for _ in range(3):
                assert cards.awake == shift
                await asyncio.sleep(0)


async def test_examples_side_by_side_cost_one_swap_a_stage() -> None:
    cards = Cards()
    turns = Turns(cards.switch, 0)
    await asyncio.gather(*(walk(turns, cards, [0, 1, 2]) for _ in range(20)))
    assert cards.order == [0, 1, 2] and turns.swaps == 2
    assert turns.generating_s > 0 and turns.swapping_s > 0


async def test_an_example_that_goes_on_with_the_awake_model_is_waited_for() -> None:
    cards = Cards()
    turns = Turns(cards.switch, 0)
    await asyncio.gather(*(walk(turns, cards, [0, 0, 0]) for _ in range(3)), walk(turns, cards, [1]))
    assert cards.order == [0, 1]


async def test_the_shift_that_most_wait_for_comes_first() -> None:
    cards = Cards()
    turns = Turns(cards.switch, 0)
    await asyncio.gather(walk(turns, cards, [1]), *(walk(turns, cards, [2]) for _ in range(3)))
    assert cards.order == [0, 2, 1]


async def test_a_shift_that_cannot_be_woken_is_told_to_all_who_wait_and_tried_again() -> None:
    cards = Cards()
    turns = Turns(cards.switch, 0)
    cards.broken = True
    outcomes = await asyncio.gather(walk(turns, cards, [1]), walk(turns, cards, [2]), return_exceptions=True)
    assert [str(outcome) for outcome in outcomes] == ["it does not wake"] * 2
    cards.broken = False
    await walk(turns, cards, [1])


async def test_one_who_stops_waiting_holds_nobody_up() -> None:
    cards = Cards()
    turns = Turns(cards.switch, 0)
    async with turns.turn(0):
        waiting = asyncio.create_task(walk(turns, cards, [1]))
        await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
    await walk(turns, cards, [2, 0])


@given(st.lists(st.lists(st.integers(0, 3), max_size=4), max_size=6), st.integers(0, 5))
def test_everybody_gets_every_turn(examples: list[list[int]], cancelled: int) -> None:
    async def run() -> None:
        cards = Cards()
        turns = Turns(cards.switch, 0)
        tasks = [asyncio.create_task(walk(turns, cards, stages)) for stages in examples]
        await asyncio.sleep(0)
        for task in tasks[cancelled : cancelled + 1]:
            task.cancel()
        outcomes = await asyncio.wait_for(asyncio.gather(*tasks, return_exceptions=True), 30)
        assert all(outcome is None or isinstance(outcome, asyncio.CancelledError) for outcome in outcomes)

    asyncio.run(run())
