"""minihop's world: examples, wordings and parsers, checked against an independent solver."""

from __future__ import annotations

import re
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agenttts.environments.tasks.minihop import world

INDICES = st.integers(min_value=0, max_value=5_000)
SEEDS = st.integers(min_value=0, max_value=20)


def _facts(example: dict[str, object]) -> list[str]:
    return cast("list[str]", example["facts"])


def _needed(example: dict[str, object]) -> list[int]:
    return cast("list[int]", example["needed"])


def _solve(standard_facts: list[str], question: str) -> int:
    """Answer a question from standard wordings by reading them as a dictionary of phrases."""
    table = {}
    for fact in standard_facts:
        subject, _, value = fact.partition(" is " if " is " in fact else " are ")
        table[subject] = value

    def person(phrase: str) -> str:
        if not phrase.startswith("the "):
            return phrase
        relation, _, rest = phrase.removeprefix("the ").partition(" of ")
        return table[f"the {relation} of {person(rest)}"]

    def amount(item: str, name: str) -> int:
        value = table[f"the {item} of {name}"]
        if value.isdigit():
            return int(value)
        number, word, other = re.fullmatch(r"(\d+) (more than|fewer than|times) those of (\w+)", value).groups()  # type: ignore[union-attr]
        base = amount(item, other)
        return {
            "more than": base + int(number),
            "fewer than": base - int(number),
            "times": base * int(number),
        }[word]

    item, rest = re.fullmatch(r"How many (\w+) does (.*)\?", question).groups()  # type: ignore[union-attr]
    first, _, operation = rest.partition(" have")
    total = amount(item, person(first))
    if operation:
        sign, _, second = operation.strip().partition(" those of ")
        total += (1 if sign == "plus" else -1) * amount(item, person(second))
    return total


@given(index=INDICES, seed=SEEDS)
def test_an_example_is_the_same_every_time(index: int, seed: int) -> None:
    assert world.make_example(index, seed=seed) == world.make_example(index, seed=seed)


def test_examples_do_not_change_between_versions() -> None:
    """The pools were recorded on these very examples."""
    example = world.make_example(17)
    assert example["id"] == "minihop-0017"
    assert example["question"] == "How many books does the uncle of Ada have?"
    assert (example["needed"], example["answer"]) == ([10, 9], 417)


@given(index=INDICES, seed=SEEDS)
def test_the_needed_facts_alone_determine_the_answer(index: int, seed: int) -> None:
    example = world.make_example(index, seed=seed)
    needed = [world.standard_wording(_facts(example)[fact]) for fact in _needed(example)]
    assert _solve(needed, str(example["question"])) == example["answer"]


@given(index=INDICES)
def test_every_needed_fact_is_needed(index: int) -> None:
    example = world.make_example(index)
    needed = [world.standard_wording(_facts(example)[fact]) for fact in _needed(example)]
    for missing in needed:
        with pytest.raises(KeyError):
            _solve([fact for fact in needed if fact != missing], str(example["question"]))


@given(index=INDICES)
def test_a_list_has_the_promised_shape(index: int) -> None:
    example = world.make_example(index)
    facts, needed = _facts(example), _needed(example)
    assert world.MIN_FACTS <= len(facts) <= world.MAX_FACTS
    assert 1 <= len(needed) == len(set(needed)) <= world.MAX_NEEDED
    subjects = [re.split(" is | are ", world.standard_wording(fact))[0] for fact in facts]
    assert len(set(subjects)) == len(subjects)


@given(index=INDICES, data=st.data())
def test_wordings_round_trip(index: int, data: st.DataObject) -> None:
    fact = world.parse_fact(data.draw(st.sampled_from(_facts(world.make_example(index)))))
    wordings = world.RELATION_WORDINGS if isinstance(fact, world.Relation) else world.QUANTITY_WORDINGS[fact.kind]
    for _, template in wordings:
        text = world.render_fact(fact, template)
        assert world.parse_fact(text) == fact
        assert world.standard_wording(text) == world.render_fact(fact)


def test_what_is_no_fact_is_refused() -> None:
    with pytest.raises(ValueError, match="not a fact"):
        world.standard_wording("the boss of Nobody is Bob")


@given(index=INDICES)
def test_quotes_are_found_in_order_and_strangers_dropped(index: int) -> None:
    example = world.make_example(index)
    facts, needed = _facts(example), _needed(example)
    quotes = [world.standard_wording(facts[fact]) for fact in needed]
    text = " " + ". ".join([*quotes, "the coins of Ann are 1000", quotes[0], "nonsense"])
    assert world.quoted_facts(text, facts) == needed
    assert world.quoted_facts("", facts) == []


def test_a_quote_counts_only_in_standard_wording() -> None:
    facts = ["Bob is the boss of Ann", "Ann has 17 coins"]
    assert world.quoted_facts("Bob is the boss of Ann. the coins of Ann are 17", facts) == [1]


@pytest.mark.parametrize(
    ("text", "number"),
    [
        (" the coins of Bob are 17. answer 17", 17),
        ("17 - 26 = -9. answer -9", -9),
        ("answer 5.", 5),
        ("answer 5. answer 6", 6),
        ("the boss of Ann is unknown. answer unknown", None),
        ("answer 5 coins", None),
        ("answer -", None),
        ("17", None),
        ("", None),
    ],
)
def test_parse_answer(text: str, number: int | None) -> None:
    assert world.parse_answer(text) == number


def test_prompts_hold_the_facts_in_the_order_given() -> None:
    facts = ["Bob is the boss of Ann", "Bob has 17 coins"]
    question = "How many coins does the boss of Ann have?"
    prompt = "Bob is the boss of Ann. Bob has 17 coins. How many coins does the boss of Ann have?"
    assert world.retrieve_prompt(facts, question) == prompt
    assert world.answer_prompt(facts, question) == prompt
    assert world.answer_prompt([], question) == question
