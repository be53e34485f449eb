"""Metrics at their ends: what is empty, of another type or another script is scored right, or named."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agenttts import metrics
from agenttts.errors import ConfigError
from agenttts.pipeline import Metric
from agenttts.pipeline.metrics import equal, exact_match, set_f1, token_f1

EMPTY: list[Any] = [None, "", " \n\t", "\u200b\ufeff", "\u00a0", [], (), {}, set(), np.array([])]
GOLDS: list[Any] = ["A", "a", "an", "the", "The The", "-", "?", "...", "None", "nan", "[]", "B", 0, 0.0, False, "false"]


@pytest.mark.parametrize("gold", GOLDS, ids=repr)
@pytest.mark.parametrize("make", [equal, exact_match, token_f1])
def test_an_empty_output_is_never_right_and_the_gold_always_is(make: Callable[..., Metric], gold: Any) -> None:
    for empty in EMPTY:
        assert make("gold")(empty, {"id": "1", "gold": gold}) == 0
        if make is not equal:
            assert make("gold")(empty, {"id": "1", "gold": [gold, "other"]}) == 0
    assert make("gold")(gold, {"id": "1", "gold": gold}) == 1


@pytest.mark.parametrize("empty", EMPTY[1:], ids=repr)
def test_an_empty_gold_is_declared_or_named(empty: Any) -> None:
    example = {"id": "e7", "gold": empty}
    for make in (equal, exact_match, token_f1):
        if make is not equal and isinstance(empty, dict):
            continue
        with pytest.raises(ConfigError, match="example 'e7': field 'gold' is .*both_empty"):
            make("gold")("x", example)
        declared = make("gold", both_empty=1.0)
        assert declared("x", example) == 0 and all(declared(output, example) == 1 for output in EMPTY)


@pytest.mark.parametrize(
    ("output", "gold", "right"),
    [
        ("a", "A", True), ("A.", "A", True), ("(A)", "A", True), ("**A**", "A", True), ("the", "A", False),
        ("B", "A", False), ("a b", "A", False), ("+", "-", False), ("the the", "The The", True),
        ("who", "The Who", True),
        (1, "1", True), ("1", 1, True), ("1", 1.0, True), ("1.0", "1", True), ("01", "1", False), ("007", "7", False),
        ("-5", "5", False), ("−5", "-5", True), ("5", "-5", False), ("1.5", "15", False), ("1.50", "1.5", True),
        ("3/4", "34", False), ("2010-2015", "20102015", False), ("1,000", "1000", True), ("1,0", "10", False),
        ("1e3", "1000", True), (1e22, "1e22", True), ("42.", "42", True), ("$5", "5", True),
        (Decimal("2.50"), "2.5", True),
        ("3.5 million", "35 million", False), ("-3 °C", "3 °C", False), (np.int64(7), "7", True),
        (True, 1, False), (True, "1", False), (True, "True", True), (1, True, False), (None, "None", False),
        (float("nan"), "nan", False), (["Paris"], "Paris", True), (("Paris",), "paris", True),
        (["Paris", "Lyon"], "Paris Lyon", False), ({"Paris": 1}, "Paris", False), (b"Paris", "Paris", False),
        ("１２", "12", True), ("٣", "3", True), ("Ｐａｒｉｓ", "paris", True), ("cafe\u0301", "café", True),
        ("İSTANBUL", "istanbul", True), ("STRASSE", "straße", True), ("“Paris”", "Paris", True),
        ("1 000", "1000", True), ("1\u202f000", "1,000", True), ("1’000", "1000", True), ("1 000 km", "1000 km", True),
        ("10³", "103", False), ("10³", "10^3", True), ("CO₂", "CO2", True), ("1 2", "12", False),
        ("Pa\u200bris", "Paris", True), ("ΟΔΟΣ", "οδος", True), ("ﬁn", "fin", True),
        ("A, B", "B", False), ("A) B", "B", False), ("A/B", "B", False), ("A; B; C", "C", False), ("the 5", "5", True),
        ("the (A)", "A", False), ("B.", "b", True), ("A or B", "B", False),
        ("“The” Beatles", "Beatles", True), ("The A Team", "team", True), ("the", "The The", False),
        ("-1/2", "1/2", False), ("-½", "½", False), ("-½", "-1/2", True), (r"-\$5", "5", False), ("(-1,2)",
        "(1,2)", False),
        ("(1,-2)", "(1, -2)", True), ("x=-5", "x=5", False), ("x=-5", "x = -5", True), ("-5°C", "5°C", False),
        ("10^-3", "10^3", False), ("1/-2", "1/2", False), ("-∞", "∞", False), ("-π", "π", False), ("-x", "x", False),
        ("-sqrt(2)", "sqrt(2)", False), ("\u20115", "-5", True), ("\u20105", "5", False), ("−x", "-x", True),
        ("e-mail", "email", True), ("- Paris", "Paris", True), ("--Paris", "Paris", True),
        ("x-ray", "xray", True), ("2010-2015", "2010–2015", True), ("5-", "5", True), ("-ish", "ish", True),
        ("北京。", "北京", True), ("「北京」", "北京", True), ("東京、大阪", "東京大阪", False),
        ("¿Paris?", "paris", True),
        ("‹Paris›", "Paris", True), ("باريس؟", "باريس", True), ("5·3", "53", False), ("12,34,567", "1234567", True),
        ("A+", "A-", False), ("A+", "A", False), ("AB-", "AB+", False), ("O-", "O", False), ("(A+).", "A+", True),
        ("C", "C++", False), ("C#", "C++", False), ("C#", "C", False), ("`C++`", "C++", True), ("Na+", "Na-", False),
        ("x < 5", "x > 5", False), ("x<5", "x < 5", True), ("<5", ">5", False), ("< 5%", "5%", False),
        ("x<=5", "x<5", False), ("a=b", "a!=b", False), ("A->B", "A<-B", False), ("> 42", "42", True),
        ("2+3", "2*3", False), ("2+3", "2-3", False), ("2^3", "2*3", False), ("2^{10}", "2¹⁰", True),
        ("3 + 4i", "3 - 4i", False), ("3+4i", "3 + 4i", True), ("a+b", "a-b", False), ("i++", "i--", False),
        ("x = +5", "x=5", True), ("1e+5", "100000", True), ("rose to +5", "rose to 5", True), ("18+", "18", False),
        ("**42**", "42", True), ("#42", "42", True), ("=> Paris", "Paris", True), ("Paris -", "Paris", True),
        ("(1,2]", "[1,2)", False), ("(1, 2]", "(1,2]", True), ("[0, 1)", "[0, 1]", False), ("[0,1)", "0,1", False),
        ("[1, 2]", "(1, 2)", True), ("(a) Paris, [b] Lyon)", "a Paris b Lyon", True),
        ("x in (-∞, 3]", "x in (-∞,3)", False),
        ("y = - x", "y = x", False), ("y = - x", "y=-x", True), ("x = - 5", "x = 5", False),
        ("( - 5, 2)", "(5, 2)", False),
        ("Paris - Lyon", "Paris Lyon", True), ("x > - 5", "x>-5", True), ("f'(x)", "f(x)", False),
        ("f’(x)", "f'(x)", True),
        ("f''(x)", "f'(x)", False), ("'x' (y)", "x y", True), ("O'(Brien)", "O'(Brien)", True),
        ("don't (know)", "dont know", True),
        ("1.e3", "1000", True), ("2³⁄₄", "2 3/4", True), ("2³⁄₄", "2¾", True), ("0,05", "0.05", True),
        ("0,05", "5", False),
        ("1,00 €", "1 €", True), ("1,05", "105", False),
        ("<Paris>", "Paris", True), ("*A*", "A", True), ("+ Paris", "Paris", True), ("1,000+", "1000+", True),
    ],
)  # fmt: skip
def test_texts_are_compared_as_a_reader_would(output: Any, gold: Any, right: bool) -> None:
    assert exact_match("gold")(output, {"id": "1", "gold": gold}) == right
    assert (token_f1("gold")(output, {"id": "1", "gold": gold}) == 1) == right


@pytest.mark.parametrize(
    ("output", "gold", "right"),
    [
        (1, 1.0, True), (1, True, False), (True, True, True), (np.bool_(True), True, True), (np.float64(1), 1, True),
        ("1", 1, False), ((1, 2), [1, 2], True), ([1, 2], [2, 1], False), ({"a": [1]}, {"a": (1.0,)}, True),
        ({"a": 1}, {"a": True}, False), ({1, 2}, {2, 1}, True), ([[1], {"b": 2}], [[1], {"b": 2}], True),
        (float("nan"), 1, False), (np.array([1, 2]), [1, 2], True), ("a", "A", False), (Decimal("1.0"), 1, True),
    ],
)  # fmt: skip
def test_values_are_equal_by_value(output: Any, gold: Any, right: bool) -> None:
    assert equal("gold")(output, {"id": "1", "gold": gold}) == right


@pytest.mark.parametrize(
    ("output", "gold", "score"),
    [
        ((1, 2), [2, 1], 1), ("12", ["1", "2"], 0), ("ab", ["ab"], 1), (5, [5], 1), (None, [1], 0),
        ([None, ""], [1], 0),
        ([{"a": 1}], [{"a": 1}], 1), ([[1, 2]], [(1, 2)], 1), ([True], [1], 0), ([1.0], [1], 1),
        (np.array([1]), [1], 1),
        ([1, 1, 1], [1], 1), ([float("nan")], [1], 0), ({"a": 1}, ["a"], 0), ("", [], 1), (None, [], 1), ([], [""], 1),
        ([1], [], 0),
    ],
)  # fmt: skip
def test_sets_hold_whatever_an_output_holds(output: Any, gold: Any, score: float) -> None:
    assert set_f1("gold")(output, {"id": "1", "gold": gold}) == score


@pytest.mark.parametrize("make", [equal, exact_match, token_f1, set_f1])
@pytest.mark.parametrize(
    ("example", "message"),
    [
        ({"id": "e7", "answer": "x"}, "example 'e7': field 'gold' is missing; the example has id, answer"),
        ({}, "example None: field 'gold' is missing; the example has no field"),
        ({"id": "e7", "gold": None}, "example 'e7': field 'gold' is None"),
        ({"id": "e7", "gold": float("nan")}, "example 'e7': field 'gold' is NaN"),
    ],
)
def test_a_gold_that_is_none_is_named(make: Callable[..., Metric], example: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        make("gold")("x", example)


@pytest.mark.parametrize(
    ("metric", "gold"),
    [(exact_match("gold"), [""]), (token_f1("gold"), [None]), (exact_match("gold"), {"a": 1}),
     (exact_match("gold"), [["a"]]), (token_f1("gold"), ["a", float("nan")]), (set_f1("gold"), "abc"),
     (set_f1("gold"), 5)],
)  # fmt: skip
def test_a_gold_of_another_form_is_named(metric: Metric, gold: Any) -> None:
    with pytest.raises(ConfigError, match="example 'e7': field 'gold' "):
        metric("x", {"id": "e7", "gold": gold})


def test_whole_numbers_of_any_length_are_compared() -> None:
    example = {"id": "1", "gold": 10**5000}
    assert exact_match("gold")(10**5000, example) == exact_match("gold")("1" + "0" * 5000, example) == 1
    assert exact_match("gold")(10**5000 + 1, example) == equal("gold")(10**5000 + 1, example) == 0


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=2), inner, max_size=2),
    max_leaves=5,
)


@given(ANYTHING, ANYTHING)
def test_a_score_is_in_its_range_whatever_comes(output: Any, gold: Any) -> None:
    for make in (equal, exact_match, token_f1, set_f1):
        try:
            score = make("gold")(output, {"id": "1", "gold": gold})
        except ConfigError:
            continue
        assert 0 <= score <= 1


def test_every_metric_of_ours_is_attacked() -> None:
    assert set(metrics.__all__) == {"equal", "exact_match", "normalise", "set_f1", "token_f1"}
