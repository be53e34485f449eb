"""The synthetic world of minihop: short lists of facts in controlled English, and questions about them.

A list holds 10 to 14 facts about 6 to 8 people. Half of them are relations ("the boss of Ann is Bob"), half are
quantities ("the coins of Bob are 17"), some of these relative to another person's ("the coins of Eve are 8 more
than those of Bob"). Each (person, relation) and each (person, item) has at most one fact, so the facts needed for
a question are unique. A fact may stand in the list in its *standard wording* or in another one ("Bob is the boss
of Ann", "Bob has 17 coins"); the retrieve stage quotes in standard wording, so that a quote can be checked against
the list without a model. It was taught to quote a chain from its end back to its start ("the coins of Bob are 17.
the boss of Ann is Bob"), so a model must have followed the chain before it writes the first name.

Everything is generated from `(seed, index)` alone. Draws use only `Random.random()`, the one method whose sequence
Python promises to keep between versions. Training rows come from another seed space (`zoo/rows.py`).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from random import Random
from typing import Literal, NamedTuple, TypeVar

NAMES: tuple[str, ...] = tuple(
    "Ada Amy Ann Ben Bob Cal Dan Dee Eli Eva Fay Gil Gus Hal Ian Ida Ike Ira Ivy Jan Jay Jim Joe Joy "
    "Kai Ken Kim Kit Lea Leo Liv Lou Max May Meg Mia Ned Pam Ray Rex Ron Sam Sue Ted Tim Tom Val Zoe".split()
)
RELATIONS: tuple[str, ...] = ("boss", "friend", "sister", "uncle", "teacher", "doctor")
ITEMS: tuple[str, ...] = ("coins", "books", "stamps", "shells", "pens", "keys")

MIN_FACTS, MAX_FACTS = 10, 14
"""Bounds of the number of facts in an example's list."""
MAX_NEEDED = 5
"""No question needs more facts than this."""
MAX_VALUE = 999
"""The largest quantity any person has."""

RETRIEVE_MAX_TOKENS, ANSWER_MAX_TOKENS = 80, 160
"""Limits of a reply's tokens: longer than any reply the models were taught."""

RELATION_WORDINGS: tuple[tuple[float, str], ...] = (
    (0.60, "the {relation} of {person} is {other}"),
    (0.20, "{other} is the {relation} of {person}"),
    (0.20, "{person} has {other} as {relation}"),
)
"""Wordings of a relation with their shares; the first is the standard one."""
QUANTITY_WORDINGS: dict[str, tuple[tuple[float, str], ...]] = {
    "exactly": (
        (0.65, "the {item} of {person} are {number}"),
        (0.25, "{person} has {number} {item}"),
        (0.10, "{number} {item} belong to {person}"),
    ),
    "more": (
        (0.65, "the {item} of {person} are {number} more than those of {other}"),
        (0.35, "{person} has {number} more {item} than {other}"),
    ),
    "fewer": (
        (0.65, "the {item} of {person} are {number} fewer than those of {other}"),
        (0.35, "{person} has {number} fewer {item} than {other}"),
    ),
    "times": (
        (0.65, "the {item} of {person} are {number} times those of {other}"),
        (0.35, "{person} has {number} times as many {item} as {other}"),
    ),
}
"""Wordings of a quantity, by kind, with their shares; the first of each is the standard one."""

Kind = Literal["exactly", "more", "fewer", "times"]
Operation = Literal["one", "minus", "plus"]
_Choice = TypeVar("_Choice")


class Relation(NamedTuple):
    """`other` is the `relation` of `person`."""

    person: str
    relation: str
    other: str


class Quantity(NamedTuple):
    """What `person` has of `item`: `number` itself, or `number` applied to what `other` has."""

    person: str
    item: str
    kind: Kind
    number: int
    other: str


Fact = Relation | Quantity


class Path(NamedTuple):
    """A person named directly, or reached from `name` through `relations` (the innermost first)."""

    name: str
    relations: tuple[str, ...]


class Question(NamedTuple):
    """How many `item` the first person has, alone or minus/plus those of the second."""

    item: str
    operation: Operation
    first: Path
    second: Path | None


class World(NamedTuple):
    """The facts of a list, in list order, and the wording in which each stands there."""

    facts: list[Fact]
    wordings: list[str]


# --- drawing -------------------------------------------------------------------------------------------------


def pick(rng: Random, options: Sequence[_Choice]) -> _Choice:
    """Draw one option uniformly."""
    return options[int(rng.random() * len(options))]


def pick_weighted(rng: Random, options: Sequence[tuple[float, _Choice]]) -> _Choice:
    """Draw one option with probability in proportion to its weight."""
    point = rng.random() * sum(weight for weight, _ in options)
    for weight, option in options:
        point -= weight
        if point < 0:
            return option
    return options[-1][1]


def shuffled(rng: Random, options: Sequence[_Choice]) -> list[_Choice]:
    """Return the options in random order."""
    return [option for _, _, option in sorted((rng.random(), index, option) for index, option in enumerate(options))]


def between(rng: Random, low: int, high: int) -> int:
    """Draw an integer from `low` to `high`, both included."""
    return low + int(rng.random() * (high - low + 1))


# --- wordings ------------------------------------------------------------------------------------------------


def _wordings(fact: Fact) -> tuple[tuple[float, str], ...]:
    return RELATION_WORDINGS if isinstance(fact, Relation) else QUANTITY_WORDINGS[fact.kind]


def render_fact(fact: Fact, template: str | None = None) -> str:
    """Say a fact with one of its wordings, the standard one if none is given."""
    return (template or _wordings(fact)[0][1]).format(**fact._asdict())


def _pattern(template: str) -> re.Pattern[str]:
    groups = {
        "person": f"(?P<person>{'|'.join(NAMES)})",
        "other": f"(?P<other>{'|'.join(NAMES)})",
        "relation": f"(?P<relation>{'|'.join(RELATIONS)})",
        "item": f"(?P<item>{'|'.join(ITEMS)})",
        "number": r"(?P<number>[1-9][0-9]*)",
    }
    return re.compile(template.format(**groups))


_RELATION_PATTERNS = [_pattern(template) for _, template in RELATION_WORDINGS]
_QUANTITY_PATTERNS: list[tuple[Kind, re.Pattern[str]]] = [
    (kind, _pattern(template))
    for kind in ("exactly", "more", "fewer", "times")
    for _, template in QUANTITY_WORDINGS[kind]
]


def parse_fact(text: str) -> Fact:
    """Read a fact in any of its wordings.

    Raises:
        ValueError: The text is no fact of this world.
    """
    for pattern in _RELATION_PATTERNS:
        if match := pattern.fullmatch(text):
            return Relation(match["person"], match["relation"], match["other"])
    for kind, pattern in _QUANTITY_PATTERNS:
        if match := pattern.fullmatch(text):
            other = "" if kind == "exactly" else match["other"]
            return Quantity(match["person"], match["item"], kind, int(match["number"]), other)
    raise ValueError(f"not a fact of minihop: {text!r}")


def standard_wording(fact: str) -> str:
    """Return the standard wording of a fact given in any wording.

    Raises:
        ValueError: The text is no fact of this world.
    """
    return render_fact(parse_fact(fact))


def render_question(question: Question) -> str:
    """Say a question in English."""
    text = f"How many {question.item} does {_render_path(question.first)} have"
    if question.second is not None:
        text += f" {question.operation} those of {_render_path(question.second)}"
    return text + "?"


def _render_path(path: Path) -> str:
    return "".join(f"the {relation} of " for relation in reversed(path.relations)) + path.name


# --- worlds --------------------------------------------------------------------------------------------------


def make_world(rng: Random, size: int, *, standard: float = 0.0) -> World:
    """Draw a list of `size` facts.

    Args:
        rng: Source of every draw.
        size: Number of facts.
        standard: Share of facts forced into standard wording; 0 leaves the natural shares.
    """
    people = shuffled(rng, NAMES)[: max(3, min(between(rng, 6, 8), size))]
    quantity_count = max(1, (size + int(rng.random() * 2)) // 2)
    quantities = _draw_quantities(rng, people, quantity_count)
    relations = _draw_relations(rng, people, size - len(quantities), [fact.person for fact in quantities])
    facts: list[Fact] = shuffled(rng, [*quantities, *relations])
    return World(facts, [_draw_wording(rng, fact, standard) for fact in facts])


def _draw_wording(rng: Random, fact: Fact, standard: float) -> str:
    if rng.random() < standard:
        return render_fact(fact)
    return render_fact(fact, pick_weighted(rng, _wordings(fact)))


def _draw_relations(rng: Random, people: list[str], count: int, owners: list[str]) -> list[Relation]:
    """Draw relations; they lead to owners of items more often, so that chains end in a quantity."""
    kinds = shuffled(rng, RELATIONS)[:3]
    keys = shuffled(rng, [(person, kind) for person in people for kind in kinds])[:count]
    relations = []
    for person, kind in keys:
        targets = owners if rng.random() < 0.6 else people
        candidates = [target for target in targets if target != person] or [p for p in people if p != person]
        relations.append(Relation(person, kind, pick(rng, candidates)))
    return relations


def _draw_quantities(rng: Random, people: list[str], count: int) -> list[Quantity]:
    """Draw quantities of two items, so that several people own the same one and a look-up needs the name."""
    items = shuffled(rng, ITEMS)[:2]
    low, high = (100, MAX_VALUE) if rng.random() < 0.6 else (10, 99)
    keys = shuffled(rng, [(person, item) for person in people for item in items])[:count]
    facts: list[Quantity] = []
    values: dict[tuple[str, str], tuple[int, int]] = {}  # (person, item) -> value, depth of the relative chain
    for person, item in keys:
        bases = [key for key, (_, depth) in values.items() if key[1] == item and depth < 2]
        if bases and rng.random() < 0.35:
            fact, value, depth = _draw_relative(rng, person, item, values, pick(rng, bases), high)
        else:
            fact, value, depth = Quantity(person, item, "exactly", between(rng, low, high), ""), 0, 0
            value = fact.number
        facts.append(fact)
        values[person, item] = value, depth
    return facts


def _draw_relative(
    rng: Random,
    person: str,
    item: str,
    values: dict[tuple[str, str], tuple[int, int]],
    base_key: tuple[str, str],
    high: int,
) -> tuple[Quantity, int, int]:
    """Draw a quantity relative to `base_key`'s, with its value and its depth."""
    base, depth = values[base_key]
    step = between(rng, 2, max(3, high // 4))
    kind: Kind = pick(rng, ("more", "fewer", "times"))
    if kind == "times":
        factor = between(rng, 2, 4)
        if base * factor <= MAX_VALUE:
            return Quantity(person, item, "times", factor, base_key[0]), base * factor, depth + 1
    if kind == "more" and base + step <= MAX_VALUE or step >= base:
        return Quantity(person, item, "more", step, base_key[0]), base + step, depth + 1
    return Quantity(person, item, "fewer", step, base_key[0]), base - step, depth + 1


# --- questions -----------------------------------------------------------------------------------------------

_OPERATIONS: tuple[tuple[float, Operation], ...] = ((0.40, "one"), (0.42, "minus"), (0.18, "plus"))
_HOPS_ONE: tuple[tuple[float, int], ...] = ((0.15, 0), (0.45, 1), (0.40, 2))
_HOPS_TWO: tuple[tuple[float, int], ...] = ((0.50, 0), (0.35, 1), (0.15, 2))


def draw_question(rng: Random, world: World) -> tuple[Question, list[int]] | None:
    """Draw a question about a world, with the indices of the facts it needs in chain order.

    Returns:
        None if the draw led to no valid question; the caller draws again.
    """
    operation = pick_weighted(rng, _OPERATIONS)
    owners = [fact for fact in world.facts if isinstance(fact, Quantity)]
    first = pick(rng, owners)
    hops = _HOPS_ONE if operation == "one" else _HOPS_TWO
    first_path = _draw_path(rng, world, first.person, pick_weighted(rng, hops))
    second_path = None
    if operation != "one":
        others = [fact for fact in owners if fact.item == first.item and fact.person != first.person]
        if not others:
            return None
        second_path = _draw_path(rng, world, pick(rng, others).person, pick_weighted(rng, hops))
    question = Question(first.item, operation, first_path, second_path)
    needed = needed_facts(world, question)
    return (question, needed) if len(needed) <= MAX_NEEDED else None


def _draw_path(rng: Random, world: World, person: str, hops: int) -> Path:
    """Reach `person` through up to `hops` relations; fewer if the list has no such chain."""
    relations: list[str] = []
    for _ in range(hops):
        links = [fact for fact in world.facts if isinstance(fact, Relation) and fact.other == person]
        if not links:
            break
        link = pick(rng, links)
        relations.append(link.relation)
        person = link.person
    return Path(person, tuple(reversed(relations)))


def needed_facts(world: World, question: Question) -> list[int]:
    """Return the indices of the facts a question needs, in chain order, the first person's branch first."""
    needed: list[int] = []
    for path in (question.first, question.second):
        if path is not None:
            needed += branch_facts(world, path, question.item)
    return list(dict.fromkeys(needed))


def branch_facts(world: World, path: Path, item: str) -> list[int]:
    """Return the indices of the facts that lead from a path to a number, in chain order."""
    keys = {(fact.person, fact[1]): index for index, fact in enumerate(world.facts)}
    person, chain = path.name, []
    for relation in path.relations:
        index = keys[person, relation]
        chain.append(index)
        person = world.facts[index][2]
    while person:
        index = keys[person, item]
        chain.append(index)
        fact = world.facts[index]
        person = fact.other if isinstance(fact, Quantity) else ""
    return chain


def branch_value(world: World, chain: Sequence[int]) -> int:
    """Return the number a branch ends in: its quantities applied from the last to the first."""
    value = 0
    for index in reversed(chain):
        fact = world.facts[index]
        if isinstance(fact, Quantity):
            value = apply_quantity(fact, value)
    return value


def apply_quantity(fact: Quantity, base: int) -> int:
    """Return what a quantity comes to when its base person has `base`."""
    if fact.kind == "exactly":
        return fact.number
    if fact.kind == "more":
        return base + fact.number
    if fact.kind == "fewer":
        return base - fact.number
    return base * fact.number


def answer_of(world: World, question: Question) -> int:
    """Return the answer to a question; that of a `minus` question may be negative."""
    first = branch_value(world, branch_facts(world, question.first, question.item))
    if question.second is None:
        return first
    second = branch_value(world, branch_facts(world, question.second, question.item))
    return first - second if question.operation == "minus" else first + second


def draw_example(rng: Random) -> tuple[World, Question, list[int]]:
    """Draw the world of one example, its question and the needed facts."""
    while True:
        world = make_world(rng, between(rng, MIN_FACTS, MAX_FACTS))
        drawn = draw_question(rng, world)
        if drawn is not None:
            return world, *drawn


def make_example(index: int, *, seed: int = 0) -> dict[str, object]:
    """Generate one example, the same for the same `(seed, index)` everywhere.

    Returns:
        `id`, `facts` (in list order and the list's own wording), `question`, `needed` (indices into `facts`, in
        chain order) and `answer`.
    """
    world, question, needed = draw_example(Random(f"minihop:{seed}:{index}"))
    return {
        "id": f"minihop-{index:04d}",
        "facts": list(world.wordings),
        "question": render_question(question),
        "needed": needed,
        "answer": answer_of(world, question),
    }


# --- prompts and parsers -------------------------------------------------------------------------------------


def retrieve_prompt(facts: Sequence[str], question: str) -> str:
    """Return the user message of the retrieve stage (its system message is "retrieve")."""
    return _prompt(facts, question)


def answer_prompt(facts: Sequence[str], question: str) -> str:
    """Return the user message of the answer stage (its system message is "answer").

    Args:
        facts: The kept facts, in list order and the list's own wording; may be empty.
        question: The question.
    """
    return _prompt(facts, question)


def verdict_prompt(asked: str, reply: str) -> str:
    """Return the user message that asks the verifier whether a reply is right (its system message is "verify").

    Args:
        asked: The user message that was replied to.
        reply: The reply.
    """
    return f"{asked} {reply.strip()}"


def _prompt(facts: Sequence[str], question: str) -> str:
    return " ".join([*(f"{fact}." for fact in facts), question])


def quoted_facts(text: str, facts: Sequence[str]) -> list[int]:
    """Return the facts that a retrieve sample really quotes.

    A sentence counts when it equals the standard wording of a fact in the list; anything else is dropped.

    Returns:
        Indices into `facts` in order of quoting, without repeats.
    """
    positions = {standard_wording(fact): index for index, fact in enumerate(facts)}
    quotes = (sentence.strip() for sentence in text.split("."))
    return list(dict.fromkeys(positions[quote] for quote in quotes if quote in positions))


_ANSWER = re.compile(r"(?:^|.*\s)answer (-?[0-9]{1,9})\.?", re.DOTALL)


def parse_answer(text: str) -> int | None:
    """Return the number an answer sample ends in, None if it says "unknown" or is malformed."""
    match = _ANSWER.fullmatch(text.strip())
    return int(match[1]) if match else None
