"""Parsers on what models write: read as a reader would, or counted as unusable; always in time."""

from __future__ import annotations

import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agenttts.errors import ConfigError, ParseError
from agenttts.pipeline import Parser, SubtaskInput
from agenttts.pipeline.parsers import ids, json_object, number, tagged

GIVEN = SubtaskInput({"id": "e7", "listed": list("abcdef"), "text": "abcdef"})
LONG = "9" * 5000
IDS, ANSWER = ids("listed"), tagged("Answer:")


@pytest.mark.parametrize(
    ("sample", "value"),
    [
        ("1e3", 1000), ("1E-3", 0.001), ("-.5", -0.5), (".5", 0.5), ("+5", 5), ("42.", 42), ("**42**", 42), ("5km", 5),
        ("2010-2015", 2015), ("2010–2015", 2015), ("pages 3-5", 5), ("10 -5", -5), ("(-7)", -7), ("x=-7", -7),
        ("1,2,3,4", 4), ("1, 2, 3", 3), ("1,234", 1234), ("1,234.5", 1234.5), ("1,234,567.", 1234567),
        ("1.234,5", 1234.5),
        ("1'234", 1234), ("1_000", 1000), ("1\u202f000", 1000), ("12,34", 34), ("1,000,5", 5),
        ("1,000,2,000", 2000), ("1,2,050", 2050), ("5,0,0", 0), ("-1,2,3", 3),
        ("50%", 50), ("50 %", 50), ("3/4", 0.75), ("-3/4", -0.75), ("1 1/2", 1.5), ("1½", 1.5), ("½", 0.5),
        (r"\frac{3}{4}", 0.75), ("12/25/2020", 2020), ("4 / 5", 0.8), ("$5", 5), ("-$5", -5), ("$-5", -5),
        ("€1,000", 1000),
        ("−3", -3), ("－３", -3), ("４２", 42), ("٤٢", 42), ("３．５", 3.5), ("答案是42。", 42), ("答案是-5", -5),
        ("6.02 × 10^23", 6.02e23), (r"1.5 \times 10^{3}", 1500), ("10^5", 1e5), ("GPT-4", 4), ("No.5", 5),
        ("1 000", 1000), ("1\u2009000", 1000), ("1’000", 1000), ("10 000 units", 10000), ("1 000 000", 1e6),
        ("12 500", 12500), ("1 234 567.89", 1234567.89), ("1 000,5", 1000.5), ("1\u202f234,5", 1234.5),
        ("100 000", 1e5), ("1'234,5", 1234.5), ("1, 000", 1000), ("1 ,000", 1000), (r"1{,}000", 1000),
        (r"1\,000", 1000), ("-1 000", -1000), ("1٬000٫5", 1000.5), ("1 000/3", 1000 / 3), ("1 100/200", 1.5),
        ("$1 000", 1000), (r"1\,234\,567", 1234567), ("1 2 3", 3), ("100 200 300", 300), ("rooms 101 102", 102),
        ("2024 100", 100), ("1, 234", 234), ("12 34", 34), ("1 2345", 2345), ("3 100 m2", 3100), ("x1 000 is 7", 7),
        ("2^10", 1024), ("2**10", 1024), ("2 ^ 10", 1024), ("2^{10}", 1024), ("2^10 = 1024", 1024), ("10³", 1000),
        ("5²", 25), ("2⁻¹", 0.5), ("1,000^2", 1e6), ("1.5^2", 2.25), ("-2^2", -4), ("2^-1", 0.5),
        ("6.02×10²³", 6.02e23), ("25 m^2", 25), ("25 cm²", 25), ("9.8 m/s^2", 9.8), ("9.8 m s^{-2}", 9.8),
        ("7 x^2", 7), (r"25\text{ cm}^2", 25), ("5 ± 2", 5), ("5±2", 5), ("5 +/- 0.5", 5), (r"5 \pm 2", 5),
        ("50% ± 3%", 50), ("5 - 2", 2), ("2**", 2),
        (r"-\frac{3}{4}", -0.75), (r"\boxed{-\frac{3}{4}}", -0.75), (r"\frac{-3}{4}", -0.75), (r"\dfrac34", 0.75),
        (r"2\frac{1}{2}", 2.5), (r"\cfrac{1.5}{2}", 0.75), (r"\frac{1,000}{4}", 250), ("-½", -0.5), ("2 ½", 2.5),
        ("10,000/4", 2500), ("5/1,000", 0.005), ("1,000/2,000", 0.5), (r"-\$5", -5), (r"\$1,234.50", 1234.5),
        ("\u20115", -5), ("\u20105", -5), ("GPT\u20114", 4), ("x = - 5", -5), (r"\boxed{- 5}", -5), ("(- 5)", -5),
        ("-\u00a05", -5), ("\n- 5", 5), ("7 - 5", 5), ("-\u200b5", -5), ("4\u200b2", 42), ("4\u00ad2", 42),
        ("Hmm...42", 42), ("5...6", 6), ("3.14...", 3.14), ("so...-5", -5), ("12,34,567", 1234567),
        ("1,00,000.5", 100000.5), ("10,20,30", 30), ("1\u2005234", 1234), ("7 is 0b101", 7), ("7 or 0o17", 7),
        ("-0", 0),
        ("1.e3", 1000), ("-2.E-1", -0.2), ("1. e3 7", 7), ("2³⁄₄", 2.75), ("³⁄₄", 0.75), ("-⁷⁄₈", -0.875),
        ("12⁵⁄₁₆", 12.3125),
        ("0,05", 0.05), ("-0,05", -0.05), ("1,05", 1.05), ("1,00", 1), ("0,125", 0.125), ("3,0001", 3.0001),
        ("3,007", 3007),
        ("9,99 €", 9.99), ("€9,99", 9.99), ("12,50€", 12.5), ("-$1,25", -1.25), ("€1,250", 1250), ("€1,2,3", 3),
        ("1.5X10^3", 1500),
        (r"\frac{1}{2}x", 0.5), (r"7\frac{1}{2}", 7.5), (r"x\approx-5", -5), (r"3\times4", 4), (r"x\leq.5", 0.5),
        (r"\boxed7", 7),
        ("2^{1/2}", 2), ("9^(1/2)", 9), ("7 x^{n+1}", 7), ("3 m^{-2}", 3), (r"90^{\circ}", 90), ("5÷6", 6),
        ("1:30", 30),
        ("5 of x2", 5), ("7 (H2O)", 7), ("7, v1.5", 7), ("7 at 192.168.1.1", 7), ("7 is 0x1F", 7), ("7 or 1.2.3", 7),
        ("<think>3</think> 7", 7), ("<thinking>3</thinking>7", 7), ("3 </think> 7", 7),
    ],
)  # fmt: skip
def test_numbers_are_read_as_written(sample: str, value: float) -> None:
    assert number(sample, GIVEN) == pytest.approx(value, rel=1e-12)
    assert number(f"I think: {sample}", GIVEN) == pytest.approx(value, rel=1e-12)


@pytest.mark.parametrize(
    "sample",
    ["", "none", "inf", "nan", "-Infinity", "1e999", LONG, f"7 or {LONG}", "7 or 1e400", "1/0", "x2", "2^99999", "0^-1",
     "9" * 30 + "^99", "x^2", "m²", "1.2.3", "-", ".",
     "²", "<think>7", "<think>7</think>"],
)  # fmt: skip
def test_what_is_no_number_is_unusable(sample: str) -> None:
    with pytest.raises(ParseError):
        number(sample, GIVEN)


@pytest.mark.parametrize(
    "sample",
    [
        "Answer: 42", "**Answer:** 42", "**Answer**: 42", "**Answer: 42**", "**Answer:**42", "__Answer:__ 42",
        "Answer：42", "**Answer**： 42", "answer: 42", "ANSWER: 42", "Answer : 42", "Answer:42", "### Answer: 42",
        "> Answer: 42", "Answer:\n42", "Answer:\n\n  **42**  ", "**Answer:**\n\n42", "Answer: `42`", "Answer: ```42```",
        "Answer:\n```\n42\n```", "Answer:\n```text\n42\n```", "Answer: *42*", "Answer: ***42***", "- **Answer:** 42",
        "Answer: 7\nAnswer: 42", "Answer: 42\nso the answer: 7", "Answer: 42\nBecause.", "最终Answer：42",
        "Answer:\u200b42", "Answer: \u200b\n42", "Answer: \u202e42\u202c", "Answer:\n$$\n42\n$$",
        "Answer:\n\\[\n42\n\\]",
        "Answer:\n\n---\n42", "<think>Answer: 7</think>\nAnswer: 42", "Answer: 7\n</think>Answer: 42",
        "Answer: 42\r\nx", "Answer:\t42",
    ],
)  # fmt: skip
def test_what_follows_a_marker_is_read_without_decoration(sample: str) -> None:
    assert ANSWER(sample, GIVEN) == "42"


@pytest.mark.parametrize(
    ("sample", "value"),
    [("Answer: __init__", "__init__"), ("Answer: 2 * 3 * 4", "2 * 3 * 4"), ("Answer: *a* and *b*", "*a* and *b*"),
     ("Answer: a_b", "a_b"), ("Answer: -5", "-5"), ("Answer: **bold** end", "**bold** end"),
     ("Answer: 10:30", "10:30")],
)  # fmt: skip
def test_what_belongs_to_a_value_stays(sample: str, value: str) -> None:
    assert ANSWER(sample, GIVEN) == value


@pytest.mark.parametrize(
    "sample", ["", "42", "Answer:", "Answer: \n ", "Answer: **", "Answer:\n```\n```", "Answer: \u200b",
    "Answer:\n$$", "Answer: 1\nAnswer:",
               "<think>Answer: 1", "noanswer: 1"],
)  # fmt: skip
def test_a_marker_with_nothing_behind_it_is_unusable(sample: str) -> None:
    with pytest.raises(ParseError):
        ANSWER(sample, GIVEN)


def test_markers_may_be_of_any_form() -> None:
    assert tagged("####")("so\n#### 42", GIVEN) == "42"
    assert tagged("Final answer:")("**Final  Answer:** 42", GIVEN) == "42"
    assert tagged("(a+b)*:")("(a+b)*: 42", GIVEN) == "42"
    with pytest.raises(ConfigError, match="needs a marker"):
        tagged(" ")


@pytest.mark.parametrize(
    ("sample", "found"),
    [
        ("[1] and [2]", (1, 2)), ("[2][1][2]", (2, 1)), ("[1, 2]", (1, 2)), ("[1; 3]", (1, 3)), ("[2-4]", (2, 3, 4)),
        ("[1–3]", (1, 2, 3)), ("[5-99999999999]", ()), ("[5-999999999]", (5, 6)), ("[4-2] [1]", (1,)),
        ("[0] [7] [3]", (3,)),
        (f"[{LONG}] [2]", (2,)),
        ("[３]", (3,)), ("[٣]", (3,)), ("【2】", (2,)), ("［2］", (2,)), ("[[1], [2]]", (1, 2)),
        ("[1、2]", (1, 2)), ("[1，2]", (1, 2)), ("[１－３]", (1, 2, 3)),
        ("[ 1 ]", (1,)), ("[1\u20113]", (1, 2, 3)), ("[1\u200b]", (1,)), ("[03]", (3,)), ("[1](url)", (1,)), ("[²]",
        ()), ("[-1]", ()), ("[1.5]", ()), ("[a]", ()),
        ("1, 2", ()), ("<think>[1]</think>[2]", (2,)), ("<think>[1]", ()),
    ],
)  # fmt: skip
def test_ids_are_those_of_listed_items(sample: str, found: tuple[int, ...]) -> None:
    if found:
        assert IDS(sample, GIVEN) == found
    else:
        with pytest.raises(ParseError):
            IDS(sample, GIVEN)


@pytest.mark.parametrize("field", ["text", "missing"])
def test_ids_among_what_is_no_list_name_the_field(field: str) -> None:
    with pytest.raises(ConfigError, match=f"example 'e7': field '{field}' must be the list that ids"):
        ids(field)("[1]", GIVEN)


@pytest.mark.parametrize(
    ("sample", "found"),
    [
        ('x {"a": 1} y {"a": 2}', {"a": 1}), ('```json\n{"a": 1}\n```', {"a": 1}), ('[{"a": 1}]', {"a": 1}), ("{}", {}),
        ('{not} {"a": 1}', {"a": 1}), ('{"x", "y"} {"a": 1}', {"a": 1}), ('{"never closed {"a": 1}', {"a": 1}),
        (r'\frac{1}{2} {"a": 1}', {"a": 1}), ('{"a": oops, "b": {"c": 1}} {"d": 2}', {"d": 2}), ('"{"a": 1}', {"a": 1}),
        ('<think>{"a": 1}</think>{"b": 2}', {"b": 2}), ('{"a": ...\n{"a": 1}', {"a": 1}), ('{"a": 1}}}', {"a": 1}),
        ('{"a": "\\ud800 \\u0000"}', {"a": r"\ud800 \x00"}), ("{" * 200_000 + '{"a": 1}', {"a": 1}),
        ('{"a": "}{"}', {"a": "}{"}), ('{"a": 12345678901234567890}', {"a": 12345678901234567890}),
    ],
)  # fmt: skip
def test_the_first_whole_object_is_read(sample: str, found: dict[str, Any]) -> None:
    assert json_object(sample, GIVEN) == found


@pytest.mark.parametrize(
    ("sample", "reason"),
    [
        ("", "no JSON object"), ("[1]", "no JSON object"), ('{"a": {"b": 1}', "no JSON object"),
        ('{"a": 1,}', "no JSON"),
        ('{"a": oops, "b": {"c": 1}}', "no JSON object"), ('{"a": NaN}', "NaN is no number"),
        ('{"a": 1e999}', "too large"),
        ('{"a": -Infinity}', "-Infinity is no number"), (f'{{"a": {LONG}}}', "a number of 5,000 digits"),
        ('{"a": 1, "a": 2}', "a name twice"), ('{"a":' * 65 + "1" + "}" * 65, "more than 64 levels"),
        ('{"a":' * 100_000, "more than 64 levels"), ('{"a":' + "[" * 100_000, "more than 64 levels"),
        ('<think>{"a": 1}', "no JSON object"), (" " * 2**20 + '{"a": 1}', "no JSON object"),
    ],
)  # fmt: skip
def test_what_is_no_usable_object_says_why(sample: str, reason: str) -> None:
    with pytest.raises(ParseError, match=reason):
        json_object(sample, GIVEN)


PARSERS = {"number": number, "json_object": json_object, "ids": IDS, "tagged": ANSWER}
_HANGS_S = 30
"""Of CPU time; one that takes the square of the length takes far longer."""
PARTS = [
    "{", '{"', '\\"', '\\"{', '{"a":', '{"a":x', '{"a":"', "{ ", "{}", '{"a":{}', '\\"{"', "[", "[1,", "[1 ", "[1-6]",
    "[1-", "1,", "1.", "1/",
    "1 ", "-", "$", "1e", "10^", "\\frac{1}", "Answer:", "**Answer:** ", "Answer: *a", "*", "`", "\n", " ", "９",
    "</think>",
    "1 000 ", "1 000,", "1 000/", "1{,}000", "1\\,000", "2^", "2^{", "5²", "±", "5 ± 2",
    "<think>", "9", "½", "['", "Answer ", "1,000", "1,00,", "\\frac{1,000}", "\\frac1", "...", "= - ", "\u200b",
    "-\u00a0", "$$\n", "^{", "^(1", "³⁄", "\\times", "1.e", "0,0", "€9,99 ",
]  # fmt: skip


@pytest.mark.parametrize("name", PARSERS)
def test_no_parser_hangs_on_a_long_sample(name: str) -> None:
    for part in PARTS:
        for before in ("1", '{"a": ["', "Answer: **"):
            started = time.process_time()
            try:
                PARSERS[name](before + part * (50_000 // len(part)) + "x", GIVEN)
            except ParseError:
                pass
            assert time.process_time() - started < _HANGS_S, (before, part)


@pytest.mark.parametrize("name", PARSERS)
@given(sample=st.text('{}[]":,.-/$*`0123456789eE \n<>thinkAswr：３', max_size=40) | st.text(max_size=40))
def test_whatever_a_sample_holds_it_is_a_value_or_unusable(name: str, sample: str) -> None:
    parser: Parser = PARSERS[name]
    try:
        assert parser(sample, GIVEN) is not None
    except ParseError:
        pass
