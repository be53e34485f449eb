"""Metrics: (output, example) -> score in [0, 1].

An output that is empty (None, a text of white space, a list of nothing) is never right, whatever the gold answer is,
unless `both_empty` says what it is worth where the gold is empty too. A gold that is missing, NaN, or empty without
that, is a fault of the data: a ConfigError that names the field and the example, before anything is paid for.

Texts are compared as SQuAD's script does, but for what it loses: where nothing, or one letter, would be left of one of
the two (the answers "A" and "B"), articles stay, then punctuation too; a number keeps its sign and its decimal point,
so that -5 is not 5, (1,-2) not (1,2), 1.5 not 15, 3/4 not 34, while 1.0 is 1; and what means something where it stands
stays, so that A+ is not A-, nor C++ C#, x < 5 not x > 5, 2+3 not 2*3, f'(x) not f(x), (1,2] not [1,2). Punctuation,
digits and signs of every script, compatibility characters and combining accents count as what they look like.
"""

from __future__ import annotations

import math
import re
import string
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Any

from agenttts.errors import ConfigError
from agenttts.pipeline.fingerprint import identified, identified_factory
from agenttts.pipeline.handles import Metric
from agenttts.pipeline.model import Example
from agenttts.pipeline.numerals import joined, number_text, plain

__all__ = ["equal", "exact_match", "normalise", "set_f1", "token_f1"]

_ARTICLES = re.compile(r"(?<!-)\b(a|an|the)\b")
_MARKS = string.punctuation + "“”„‟«»‹›‘’‚‛´…¿¡•·。「」『』《》〈〉،؛؟۔।॥"
_PUNCTUATION = str.maketrans("、・", "  ", _MARKS)  # they part words as blanks do elsewhere
_AROUND = re.escape(_MARKS)
_BETWEEN_DIGITS = re.compile(rf"(?<=[0-9])[{_AROUND}]+(?=[0-9])")
_NUMBER = re.compile(rf"[{_AROUND}]*?(?P<number>[-+]?[$]?[-+]?\.?[0-9](?:[^\s]*[0-9])?)[{_AROUND}]*")
_MINUS = re.compile(r"(?<![\w)\]}%°.!?-])-(?=[0-9.$√∞(]|[^\W\d_](?![^\W\d_])|inf|pi|sqrt)")
"""A minus sign of a number, or of a letter that stands for one; else it is a hyphen or a dash."""
_KEPT = "\ue000"
"""Stands for such a sign while punctuation is taken away."""
_OPERATOR = re.compile(
    r"(?<=[\w)\]}])(?: (?P<apart>[-=]?>=*|[<!=]=+|[<=+]|\*{1,2}(?= \d)) (?=[-+.$(\[{\w])"  # x < 5, 3 + i
    r"|(?P<between>[-=]?>=*|[<!=]=+|[<=])(?= ?[-+.$(\[{\w])"  # x<5, a=b
    r"|(?<!\de)(?P<plus>\++)(?!/))"  # A+, C++, a+b; 1e+5 is a number, +/- a word
    r"|(?<=\d)(?P<times>\*{1,2}|\^)(?=[-\d({])"  # 2*3, 2^3
    r"|(?<![\w<>=-])(?P<than>[<>]=?)(?=[$€£]?[-.]?\d)|(?<!\S)(?P<less><=?) (?=[$€£]?[-.]?\d)"  # <5
    r"|(?:(?<=\b[^\W\d_])|(?<=\b[^\W\d_]{2}))(?P<minus>-)(?![\w-])"  # A-, AB-
    r"|(?<=[^\W\d_])(?P<sharp>#)(?!\w)"  # C#
    r"|(?:(?<=\b[^\W\d_])|(?<=\b[^\W\d_]'))(?P<prime>'{1,2})(?=\()"  # f'(x)
)
"""What is no punctuation where it stands, and becomes a word of its own: operators, relations, marks of a name."""
_HALF_OPEN = re.compile(r"(\[)([^][()]{1,60},[^][()]{1,60})(\))|(\()([^][()]{1,60},[^][()]{1,60})(\])")
"""An interval: brackets of one kind may be those of a list."""
_APART_MINUS = re.compile(r"(?<=[=<>(\[{,]) ?- (?=[\w.$√∞(])")
_MEANT = "+-*^<>=!#'[]()"
_APART = str.maketrans({mark: chr(ord(_KEPT) + place) for place, mark in enumerate(_MEANT, start=1)})
_BACK = str.maketrans({_KEPT: "-"} | {chr(ord(_KEPT) + place): mark for place, mark in enumerate(_MEANT, start=1)})
_UNSEEN = "Cf"
_SHOWN = 60
_DECLARE = "give the right answer, or say both_empty= where none is right"

Texts = tuple[str, str]


@identified("metrics.normalise", version=6)
def normalise(answer: str) -> str:
    """The normalisation of SQuAD and HotpotQA: lower case, no punctuation, no articles, single spaces.

    Numbers keep their sign and decimal point; see the module.

    Examples:
        >>> at.metrics.normalise("The  Beatles!")
        'beatles'
    """
    return _spaced(_ARTICLES.sub(" ", _without_punctuation(answer)))


@identified_factory("metrics.equal", version=2)
def equal(field: str, *, both_empty: float | None = None) -> Metric:
    """1 when the output equals the example's field, else 0.

    Numbers are equal by value, a list is equal to a tuple of the same, and true is not 1.

    Examples:
        >>> at.metrics.equal("ids")((1, 2), {"ids": [1, 2]})
        1.0

    Args:
        field: The gold value.
        both_empty: The score where the gold and the output are empty; None means that no gold is.
    """

    def score(output: Any, example: Example) -> float:
        gold = _gold(field, example, both_empty)
        if _is_empty(output) or _is_empty(gold):
            return (both_empty or 0.0) if _is_empty(gold) and _is_empty(output) else 0.0
        return float(_key(output) == _key(gold))

    return score


@identified_factory("metrics.exact_match", version=6)
def exact_match(field: str, *, both_empty: float | None = None) -> Metric:
    """1 when the normalised output equals a gold answer (one, or a list of accepted ones), else 0.

    An output that is a list counts as the one item it holds; one of several is never right.

    Examples:
        >>> at.metrics.exact_match("gold")("The Beatles.", {"gold": ["Beatles", "Fab Four"]})
        1.0

    Args:
        field: The gold answer, or the list.
        both_empty: The score where the gold and the output are empty; None means that no gold is.
    """
    return _best_of(field, both_empty, lambda texts: float(texts[0] == texts[1]))


@identified_factory("metrics.token_f1", version=6)
def token_f1(field: str, *, both_empty: float | None = None) -> Metric:
    """Token F1 of SQuAD and HotpotQA against the best of the gold answers; see `exact_match`.

    Examples:
        >>> at.metrics.token_f1("gold")("it is Oslo", {"gold": "Oslo"})
        0.5
    """
    return _best_of(field, both_empty, lambda texts: _token_f1(*texts))


@identified_factory("metrics.set_f1", version=2)
def set_f1(field: str, *, both_empty: float = 1.0) -> Metric:
    """F1 of the output as a set against the example's field as a set. An output that is no list is one item.

    Examples:
        >>> at.metrics.set_f1("gold")((1, 2), {"gold": (2, 3)})
        0.5

    Args:
        field: The gold set, a list.
        both_empty: The score where there was nothing to find and nothing was found: F1 itself is undefined there.
    """

    def score(output: Any, example: Example) -> float:
        listed = _gold(field, example, both_empty)
        if not _is_listed(listed):
            raise _fault(field, example, f"must be a list, not {_shown(listed)}")
        found, gold = _items(output), _items(listed)
        if not found and not gold:
            return both_empty
        return 2 * len(found & gold) / (len(found) + len(gold))

    return score


def _best_of(
    field: str, both_empty: float | None, compare: Callable[[Texts], float]
) -> Callable[[Any, Example], float]:
    def score(output: Any, example: Example) -> float:
        golds, found = _gold_texts(field, example, both_empty), _text(output)
        if not found.strip():
            return 0.0 if golds else both_empty or 0.0
        return max((compare(_comparable(found, gold)) for gold in golds), default=0.0)

    return score


# Gold answers


def _gold(field: str, example: Example, both_empty: float | None) -> Any:
    """The example's field.

    Raises:
        ConfigError: When it is missing, NaN, or empty where that is not declared.
    """
    if field not in example:
        raise _fault(field, example, f"is missing; the example has {', '.join(map(str, example)) or 'no field'}")
    gold = example[field]
    if _is_nan(gold):
        raise _fault(field, example, "is NaN: give the right answer, or leave the example out")
    if gold is None or (both_empty is None and _is_empty(gold)):
        raise _fault(
            field, example, f"is {_shown(gold)}: give the right answer, or say both_empty= where none is right"
        )
    return gold


def _gold_texts(field: str, example: Example, both_empty: float | None) -> list[str]:
    """The accepted answers that are not empty; none where the gold is declared empty."""
    gold = _gold(field, example, both_empty)
    if isinstance(gold, Mapping | bytes):
        raise _fault(field, example, f"must be a text, a number, or a list of them, not {_shown(gold)}")
    listed = list(gold) if _is_listed(gold) else [gold]
    for each in listed:
        if isinstance(each, Mapping | bytes) or _is_listed(each) or _is_nan(each):
            raise _fault(field, example, f"must list texts or numbers, not {_shown(each)}")
    texts = [text for each in listed if each is not None and (text := _text(each)).strip()]
    if not texts and both_empty is None:
        raise _fault(
            field, example, f"is {_shown(gold)}: give the right answer, or say both_empty= where none is right"
        )
    return texts


def _fault(field: str, example: Example, complaint: str) -> ConfigError:
    return ConfigError(f"example {_shown(example.get('id'))}: field {field!r} {complaint}")


def _shown(value: Any) -> str:
    try:
        return repr(value)[:_SHOWN]
    except ValueError:  # an int of 4,300 digits
        return f"a {type(value).__name__}"


# Texts


def _text(output: Any) -> str:
    """An output as text; empty where it is empty or no answer at all."""
    if isinstance(output, str):
        return "".join(c for c in output if c.isascii() or unicodedata.category(c) != _UNSEEN)
    if _is_listed(output):
        items = list(output)
        return _text(items[0]) if len(items) == 1 else ""
    if output is None or isinstance(output, Mapping | bytes) or _is_nan(output):
        return ""
    if isinstance(output, int) and not isinstance(output, bool):
        return str(Decimal(output))  # str refuses an int of 4,300 digits
    return str(output)


def _comparable(output: str, gold: str) -> Texts:
    """Both texts, normalised as far as something is left of each, and more than the letter of a choice."""
    texts = normalise(output), normalise(gold)
    if any(len(text) < 2 and not text.isdecimal() for text in texts):
        texts = _without_punctuation(output), _without_punctuation(gold)
    return texts if all(texts) else (_cased(output), _cased(gold))


def _without_punctuation(text: str) -> str:
    cased = _HALF_OPEN.sub(_with_brackets, _APART_MINUS.sub(" -", _cased(text)))
    meant = _OPERATOR.sub(lambda found: f" {found[0].strip().translate(_APART)} ", cased)
    return _spaced(" ".join(map(_bare, meant.split()))).translate(_BACK)


def _with_brackets(found: re.Match[str]) -> str:
    left, inside, right = filter(None, found.groups())
    return f" {left.translate(_APART)} {inside} {right.translate(_APART)} "


def _bare(word: str) -> str:
    """What is left of a word: a number as it is always written, else its letters, digits and minus signs."""
    if number := _number_in(word):
        return number
    parted = _BETWEEN_DIGITS.sub(" ", _MINUS.sub(f" {_KEPT}", word))
    return parted.translate(_PUNCTUATION)


def _number_in(word: str) -> str | None:
    """The number that a word is, whatever punctuation stands around it."""
    match = _NUMBER.fullmatch(word)
    return number_text(match["number"]) if match else None


def _cased(text: str) -> str:
    """Case, width, composition and white space alone."""
    folded = unicodedata.normalize("NFKC", joined(plain(text).replace("\u00a0", " "))).casefold()
    return _spaced(unicodedata.normalize("NFC", folded.replace("i\u0307", "i")))


def _spaced(text: str) -> str:
    return " ".join(text.split())


def _token_f1(predicted: str, gold: str) -> float:
    if predicted != gold and {predicted, gold} & {"yes", "no", "noanswer"}:
        return 0.0
    common = sum((Counter(predicted.split()) & Counter(gold.split())).values())
    if common == 0:
        return 0.0
    precision, recall = common / len(predicted.split()), common / len(gold.split())
    return 2 * precision * recall / (precision + recall)


# Values


def _is_empty(value: Any) -> bool:
    if isinstance(value, str):
        return not _text(value).strip()
    return value is None or (isinstance(value, Mapping | bytes) or _is_listed(value)) and len(value) == 0


def _is_listed(value: Any) -> bool:
    """Whether it is a list, a tuple, a set, an array: something of several items."""
    sized = isinstance(value, Iterable) and hasattr(value, "__len__") and getattr(value, "shape", None) != ()
    return sized and not isinstance(value, str | bytes | Mapping)


def _is_nan(value: Any) -> bool:
    try:
        return isinstance(value, float | Decimal) and math.isnan(value)
    except ValueError:  # a signalling NaN
        return True


def _items(value: Any) -> set[Any]:
    listed: Sequence[Any] = list(value) if _is_listed(value) else [value]
    return {_key(each) for each in listed if not _is_empty(each)}


def _key(value: Any) -> Any:
    """A hashable stand for a value: equal where the values are."""
    if hasattr(value, "item") and getattr(value, "shape", None) == ():
        value = value.item()  # a number of numpy
    if isinstance(value, bool):
        return (bool, value)
    if _is_nan(value):
        return object()  # equal to nothing
    if isinstance(value, Mapping):
        return (Mapping, frozenset((_key(name), _key(each)) for name, each in value.items()))
    if isinstance(value, set | frozenset):
        return (set, frozenset(map(_key, value)))
    if _is_listed(value):
        return (list, tuple(map(_key, value)))
    try:
        hash(value)
    except TypeError:
        return (type(value), repr(value))
    return value
