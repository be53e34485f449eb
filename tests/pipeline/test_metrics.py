"""Metrics against values worked out by hand from the published definitions."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agenttts.pipeline.metrics import exact_match, normalise, set_f1, token_f1

WORDS = st.text("abcTheAn ,.'-é", max_size=24)
"""Texts in which articles, case and punctuation matter; none is 'yes' or 'no', which HotpotQA's script treats apart, or
holds a number, whose sign and decimal point SQuAD's script loses."""


@pytest.mark.parametrize(
    ("text", "normal"),
    [
        ("The  Theatre, a play!", "theatre play"),  # articles go as whole words only
        ("A.B.C.", "abc"),  # punctuation goes before articles: 'A.' leaves no article behind
        ("a.", ""),
        ("don't an-other", "dont another"),
        ("St. John's (1842)", "st johns 1842"),
        ("the—dash", "—dash"),  # only ASCII punctuation goes; a long dash bounds words
        ("Ünïted\tStates ", "ünïted states"),
    ],
)
def test_answers_are_normalised_as_squad_and_hotpotqa_do(text: str, normal: str) -> None:
    assert normalise(text) == normal


@pytest.mark.parametrize(
    ("output", "golds", "match", "f1"),
    [
        ("The Eiffel Tower", ["Eiffel Tower"], 1, 1),
        ("Eiffel Tower in Paris", ["Eiffel Tower"], 0, 2 * (2 / 4) * 1 / (2 / 4 + 1)),
        ("Paris", ["Lyon", "paris."], 1, 1),  # the best of several golds
        ("New York City", ["New York", "City of New York"], 0, 2 * 1 * (3 / 4) / (1 + 3 / 4)),
        ("yes", ["no"], 0, 0),
        ("yes it is", ["yes"], 0, 0),  # an answer of yes is right or wrong, never partly
        ("no", ["no"], 1, 1),
        ("noanswer", ["no answer"], 0, 0),
        ("to be or not to be", ["to be to be"], 0, 2 * (4 / 6) * 1 / (4 / 6 + 1)),  # with multiplicity
        ("to be", ["to to be"], 0, 2 * 1 * (2 / 3) / (1 + 2 / 3)),
        ("red", ["blue"], 0, 0),
        ("", ["blue"], 0, 0),
    ],
)
def test_answers_are_scored_as_squad_and_hotpotqa_do(output: str, golds: list[str], match: float, f1: float) -> None:
    example = {"answers": golds}
    assert exact_match("answers")(output, example) == match
    assert token_f1("answers")(output, example) == pytest.approx(f1)


@given(found=st.sets(st.integers(1, 9)), gold=st.sets(st.integers(1, 9)))
def test_retrieval_is_scored_by_precision_and_recall_of_the_numbers(found: set[int], gold: set[int]) -> None:
    common = len(found & gold)
    precision, recall = (common / len(each) if each else 0.0 for each in (found, gold))
    f1 = 2 * precision * recall / (precision + recall) if common else 0.0
    example: dict[str, Any] = {"gold": sorted(gold)}
    assert set_f1("gold", both_empty=0.0)(sorted(found), example) == pytest.approx(f1)
    assert set_f1("gold")((), {"gold": []}) == 1


@pytest.mark.filterwarnings("ignore")
@given(WORDS, st.lists(WORDS.filter(normalise), min_size=1, max_size=3))
def test_exact_match_and_f1_are_those_of_squads_script(predicted: str, golds: list[str]) -> None:
    reason = "compared with torchmetrics where that is installed: pip install torch torchmetrics"
    squad = pytest.importorskip("torchmetrics.functional.text", reason=reason).squad
    answers = {"answer_start": [0] * len(golds), "text": golds}
    theirs = squad([{"prediction_text": predicted, "id": "1"}], [{"answers": answers, "id": "1"}])
    example = {"id": "1", "gold": golds}
    assert exact_match("gold")(predicted, example) == pytest.approx(float(theirs["exact_match"]) / 100)
    assert token_f1("gold")(predicted, example) == pytest.approx(float(theirs["f1"]) / 100, abs=1e-6)
