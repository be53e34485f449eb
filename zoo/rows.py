"""Training rows: chats about fresh worlds, packed into sequences of fixed length.

Three kinds of rows. *retrieve*: a list and up to four questions that share no fact (else models copy from their own
earlier replies instead of reading the list). *answer*: kept facts, a question and a reply that quotes, computes and
ends in "answer N"; almost always with a distractor about the same item, so that adding up whatever numbers stand
there does not pay; some rows miss a fact and end in "answer unknown". *recite*: a list, and what two of
its facts say together, in random order, of which only the values are scored: the densest lesson in look-up;
training only.

Row `n` of step `t` depends on `(seed, t, n)` alone, in a seed space of its own; a world that is one of the held-out
examples is drawn again.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from random import Random
from typing import NamedTuple

import numpy as np

from zoo import tokenizer as tok
from zoo.config import MIXES, SEQUENCE, SEQUENCES, TASKS, WARM_UP_STEPS, Mix
from zoo.examples import evaluation_examples
from zoo.worldfile import world as w

MAX_QUESTIONS = 4
LONG_HAND = 0.35
"""Share of additions and subtractions done place by place."""
MISSING = 0.15
"""Share of answer rows that lack at least one needed fact."""


class Row(NamedTuple):
    """A chat as ids, with the positions that are scored."""

    task: int
    ids: list[int]
    scored: list[bool]


# --- held-out examples ---------------------------------------------------------------------------------------


@cache
def held_out() -> frozenset[frozenset[str]]:
    """Return the lists of the evaluation examples, as sets of standard wordings."""
    return frozenset(frozenset(map(w.standard_wording, example.facts)) for example in evaluation_examples())


def fresh_world(rng: Random, size: int, standard: float) -> w.World:
    """Draw a training world that is not one of the held-out examples'."""
    while True:
        world = w.make_world(rng, size, standard=standard)
        if frozenset(map(w.render_fact, world.facts)) not in held_out():
            return world


# --- replies -------------------------------------------------------------------------------------------------


def retrieve_reply(world: w.World, needed: list[int]) -> str:
    """Return the reply of the retrieve stage: the needed facts, from the end of the chain back to its start."""
    return ". ".join(w.render_fact(world.facts[index]) for index in reversed(needed))


class _MissingFact(Exception):
    """A branch needs a fact that was not kept; the argument is the sentence that says so."""


def answer_reply(rng: Random, world: w.World, question: w.Question, kept: set[int]) -> str:
    """Return the reply of the answer stage to a question of which only the `kept` facts are given."""
    paths = [path for path in (question.first, question.second) if path is not None]
    order = w.shuffled(rng, range(len(paths)))
    sentences: list[str] = []
    values = [0] * len(paths)
    for branch in order:
        try:
            values[branch] = _walk_branch(rng, world, paths[branch], question.item, kept, sentences)
        except _MissingFact as missing:
            return ". ".join([*sentences, str(missing), "answer unknown"])
    value = values[0]
    if len(values) == 2:
        sign = "-" if question.operation == "minus" else "+"
        value = values[0] - values[1] if sign == "-" else values[0] + values[1]
        sentences.append(calculation(rng, values[0], sign, values[1]))
    return ". ".join([*sentences, f"answer {value}"])


def _walk_branch(rng: Random, world: w.World, path: w.Path, item: str, kept: set[int], sentences: list[str]) -> int:
    """Append the sentences that lead from a path to its number; return the number."""
    chain = w.branch_facts(world, path, item)
    for index in chain:
        fact = world.facts[index]
        if index not in kept:
            verb = "is" if isinstance(fact, w.Relation) else "are"
            raise _MissingFact(f"the {fact[1]} of {fact.person} {verb} unknown")
        sentences.append(w.render_fact(fact))
    value = 0
    for index in reversed(chain):
        fact = world.facts[index]
        if isinstance(fact, w.Relation):
            continue
        if fact.kind != "exactly":
            sign = {"more": "+", "fewer": "-", "times": "*"}[fact.kind]
            sentences.append(calculation(rng, value, sign, fact.number))
        value = w.apply_quantity(fact, value)
    return value


def calculation(rng: Random, left: int, sign: str, right: int) -> str:
    """Write one calculation, directly or place by place: "117 - 26 = 97 - 6 = 91"."""
    result = {"+": left + right, "-": left - right, "*": left * right}[sign]
    steps = [f"{left} {sign} {right}"]
    if rng.random() < LONG_HAND:
        steps += _places_of_product(left, right) if sign == "*" else _places_of_sum(left, sign, right)
    return " = ".join([*steps, str(result)])


def _places_of_product(left: int, factor: int) -> list[str]:
    places = _places(left)
    return [" + ".join(str(place * factor) for place in places)] if len(places) > 1 else []


def _places_of_sum(left: int, sign: str, right: int) -> list[str]:
    steps, rest = [], right
    for place in _places(right)[:-1]:
        left, rest = (left + place if sign == "+" else left - place), rest - place
        steps.append(f"{left} {sign} {rest}")
    return steps


def _places(number: int) -> list[int]:
    """Split 203 into 200 and 3."""
    digits = str(number)
    places = [int(digit) * 10 ** (len(digits) - index - 1) for index, digit in enumerate(digits)]
    return [place for place in places if place]


# --- rows ----------------------------------------------------------------------------------------------------


def chat(task: str, turns: list[tuple[str, str]]) -> Row:
    """Build a chat row of which every reply is scored."""
    ids = [tok.BOS, tok.SYSTEM, *tok.encode(f" {task}"), tok.END]
    scored = [False] * len(ids)
    for user, reply in turns:
        prompt = [tok.USER, *tok.encode(f" {user}"), tok.END, tok.ASSISTANT]
        answer = [*tok.encode(f" {reply}"), tok.END]
        ids += prompt + answer
        scored += [False] * len(prompt) + [True] * len(answer)
    return Row(TASKS.index(task), ids, scored)


def retrieve_row(rng: Random, sizes: tuple[int, int], standard: float) -> Row:
    """Draw a list and up to four questions that share no fact."""
    world = fresh_world(rng, w.between(rng, *sizes), standard)
    used: set[int] = set()
    turns: list[tuple[str, str]] = []
    for _ in range(3 * MAX_QUESTIONS):
        drawn = w.draw_question(rng, world)
        if drawn is None or used & set(drawn[1]) or len(turns) == MAX_QUESTIONS:
            continue
        question, needed = drawn
        text = w.render_question(question)
        turns.append((text if turns else w.retrieve_prompt(world.wordings, text), retrieve_reply(world, needed)))
        used |= set(needed)
    while turns:
        row = chat("retrieve", turns)
        if len(row.ids) <= SEQUENCE:
            return row
        turns.pop()
    return retrieve_row(rng, sizes, standard)


def fresh_question(rng: Random, standard: float) -> tuple[w.World, w.Question, list[int]]:
    """Draw a world as long as the evaluation's, a question and the facts that it needs."""
    while True:
        world = fresh_world(rng, w.between(rng, w.MIN_FACTS, w.MAX_FACTS), standard)
        if drawn := w.draw_question(rng, world):
            return world, *drawn


def answer_row(rng: Random, standard: float) -> Row:
    """Draw kept facts, a question and the reply."""
    world, question, needed = fresh_question(rng, standard)
    kept = keep_facts(rng, world, question, needed)
    facts = [wording for index, wording in enumerate(world.wordings) if index in kept]
    reply = answer_reply(rng, world, question, kept)
    return chat("answer", [(w.answer_prompt(facts, w.render_question(question)), reply)])


def keep_facts(rng: Random, world: w.World, question: w.Question, needed: list[int]) -> set[int]:
    """Choose the facts an answer row is given: needed ones, a rival about the same item, up to five others."""
    kept = set(needed)
    others = w.shuffled(rng, [index for index in range(len(world.facts)) if index not in kept])
    rivals = [index for index in others if world.facts[index][1] == question.item]
    kept |= set(rivals[: 1 if question.second or rng.random() < 0.7 else 0])
    kept |= set(others[: w.between(rng, 0, 5)])
    if rng.random() < MISSING:
        gone = needed if rng.random() < 0.3 else [w.pick(rng, needed)]
        kept -= set(gone)
        if rng.random() < 0.1:
            kept = set()
    return kept


def recite_row(rng: Random, longest: int, standard: float) -> Row:
    """Draw a list, recite it and what follows from two facts in random order; only the values are scored."""
    world = fresh_world(rng, w.between(rng, 3, longest), standard)
    ids = tok.chat_ids("recite", " ".join(f"{wording}." for wording in world.wordings))
    scored = [False] * len(ids)
    sentences = [w.render_fact(fact) for fact in world.facts]
    sentences += w.shuffled(rng, _compositions(world))[: len(sentences)]
    for sentence in w.shuffled(rng, sentences):
        tokens = tok.encode(f" {sentence}.")
        if len(ids) + len(tokens) > SEQUENCE:
            break
        ids += tokens
        value = 8 if tokens[3] == tokens[0] else 5  # "the R of the R of P is V" has three words more
        scored += [position >= value for position in range(len(tokens))]
    return Row(TASKS.index("recite"), ids, scored)


def _compositions(world: w.World) -> list[str]:
    """Return what two facts say together: "the boss of the friend of Ann is Bob"."""
    links = [fact for fact in world.facts if isinstance(fact, w.Relation)]
    return [
        w.render_fact(fact._replace(person=f"the {link.relation} of {link.person}"))
        for link in links
        for fact in world.facts
        if fact.person == link.other
    ]


# --- packing -------------------------------------------------------------------------------------------------


def step_rows(seed: int, step: int) -> list[Row]:
    """Draw the rows of one training step of the four models."""
    return mixed_rows(f"minihop-train:{seed}:{step}", MIXES[step >= WARM_UP_STEPS])


def mixed_rows(seed: str, mix: Mix) -> list[Row]:
    """Draw the rows of a mix."""
    draws: list[Callable[[Random], Row]] = [
        *[lambda rng: retrieve_row(rng, (8, 15), mix.standard)] * mix.long_lists,
        *[lambda rng: retrieve_row(rng, (2, 7), mix.standard)] * mix.short_lists,
        *[lambda rng: answer_row(rng, mix.standard)] * mix.answers,
        *[lambda rng: recite_row(rng, mix.longest_recital, mix.standard)] * mix.recitals,
    ]
    return [draw(Random(f"{seed}:{index}")) for index, draw in enumerate(draws)]


def step_batch(seed: int, step: int) -> np.ndarray:
    """Pack the rows of one step of the four models."""
    return packed(step_rows(seed, step))


def packed(rows: list[Row]) -> np.ndarray:
    """Pack rows into sequences.

    Returns:
        Three planes of SEQUENCES x SEQUENCE: ids, document number within the sequence (0 where padded), and the
        task (1-based) whose loss the *next* token counts for, 0 where it counts for none.
    """
    batch = np.zeros((3, SEQUENCES, SEQUENCE), dtype=np.int16)
    batch[0] = tok.PAD
    filled = [0] * SEQUENCES
    documents = [0] * SEQUENCES
    first_open = 0
    for row in sorted(rows, key=lambda row: -len(row.ids)):
        length = len(row.ids)
        place = next((i for i in range(first_open, SEQUENCES) if filled[i] + length <= SEQUENCE), None)
        if place is None:
            continue  # the counts in `Mix` leave room for nearly every row
        start, documents[place] = filled[place], documents[place] + 1
        span = slice(start, start + length)
        batch[0, place, span] = row.ids
        batch[1, place, span] = documents[place]
        batch[2, place, span] = [(row.task + 1) * scored for scored in [*row.scored[1:], False]]
        filled[place] += length
    return batch
