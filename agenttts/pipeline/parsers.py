"""Parsers: one sample's text -> a value. An unusable sample raises ParseError and is counted, never guessed at.

What a model thought (up to `</think>`) is no answer and is left out; a sample that ends within it holds none. Digits,
signs, brackets and colons count in every script. All of them take time in proportion to the sample.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Mapping, Sized
from math import isfinite
from typing import Any

from agenttts._util.strict_json import UnfitJSON, first_object
from agenttts.errors import ConfigError, ParseError
from agenttts.pipeline.fingerprint import identified, identified_factory
from agenttts.pipeline.handles import Parser, SubtaskInput, text
from agenttts.pipeline.numerals import last_number, plain

__all__ = ["ids", "json_object", "number", "tagged", "text"]

_MOST_SEARCHED = 2**20
"""Characters of a sample in which a JSON object is looked for: far more than a model writes."""
_THOUGHT = re.compile(r"</think(?:ing)?>", re.IGNORECASE)
_THINKS = re.compile(r"\s*<think(?:ing)?>", re.IGNORECASE)
_BRACKETED = re.compile(r"\[([0-9,;、\s-]+)\]")
_ITEM = re.compile(r"([0-9]{1,9})(?:-([0-9]{1,9}))?")
_RANGE = re.compile(r"(?<=[0-9])\s*-\s*(?=[0-9])")
_DECORATION = "*_`~"
_FENCE = re.compile(r"(?:```|~~~)[\w+-]*|\$\$|\\\[|-{3,}")
"""A line that opens something and says nothing: code, a formula, what comes after a rule."""
_DECORATED = re.compile(r"(\*{1,3}|`{1,3}|~~)(?!\s)(.*\S)\1")


@identified("parsers.number", version=6)
def number(sample: str, _: SubtaskInput) -> float:
    """The last number in the sample, as `numerals` reads numbers: a range's end, a list's last, a fraction's quotient.

    One that is too large for a float makes the sample unusable.

    Examples:
        >>> at.parsers.number("That makes 1,234 apples.", given)
        1234.0
    """
    found = last_number(_said(sample))
    if found is None:
        raise ParseError("no number")
    if not isfinite(found):
        raise ParseError("the last number is too large, or divided by 0")
    return found + 0.0  # -0.0 is 0.0, also where votes are counted


@identified("parsers.json_object", version=2)
def json_object(sample: str, _: SubtaskInput) -> dict[str, Any]:
    """The first JSON object in the sample, whatever stands around it; never a part of one that is cut off or broken.

    One that holds NaN or Infinity, a name twice, a number of hundreds of digits or more than 64 levels is unusable.
    Only the first 1,048,576 characters of a sample are searched.

    Examples:
        >>> at.parsers.json_object('Sure: {"tool": "crop"} should do.', given)
        {'tool': 'crop'}
    """
    try:
        found = first_object(_said(sample)[:_MOST_SEARCHED])
    except UnfitJSON as error:
        raise ParseError(f"no usable JSON object: {error}") from error
    if found is None:
        raise ParseError("no JSON object")
    return found


@identified_factory("parsers.ids", version=4)
def ids(among: str) -> Parser:
    """Bracketed numbers such as [3], [1, 2] or [4-6], each once, in order.

    Those outside 1..len(example[among]) are dropped.

    Examples:
        >>> given = at.SubtaskInput({"passages": ["Ann lives in Oslo.", "Bob lives in Rome.", "Eve is out."]})
        >>> at.parsers.ids(among="passages")("Passages [3] and [1], not [9]", given)
        (3, 1)

    Args:
        among: The example's field that holds the numbered list.
    """

    def parse(sample: str, given: SubtaskInput) -> tuple[int, ...]:
        known = range(1, _length(given.example, among) + 1)
        brackets = dict.fromkeys(_BRACKETED.findall(plain(_said(sample))))
        found = tuple(dict.fromkeys(number for inside in brackets for number in _listed(inside, known)))
        if not found:
            raise ParseError("no [number] of a listed item")
        return found

    return parse


@identified_factory("parsers.tagged", version=3)
def tagged(marker: str) -> Parser:
    """What follows the last occurrence of a marker (such as "Answer:"), up to the end of its line.

    Where nothing follows on that line it is the next line that says something. Markdown around marker and value is no
    part of them, a full-width colon is one, and another case will do where the marker's own does not occur.

    Examples:
        >>> at.parsers.tagged("Answer:")("She is from Norway. Answer: Oslo", given)
        'Oslo'

    Raises:
        ConfigError: On an empty marker.
    """
    if not marker.strip():
        raise ConfigError(f"tagged() needs a marker such as 'Answer:', not {marker!r}")
    exact, other = (re.compile(_marked(marker), flags) for flags in (0, re.IGNORECASE))

    def parse(sample: str, _: SubtaskInput) -> str:
        said = _said(sample)
        found = _last(exact.finditer(said)) or _last(other.finditer(said))
        value = _value(said[found.end() :], found["around"]) if found else ""
        if not value:
            raise ParseError(f"no {marker!r} with something behind it")
        return value

    return parse


def _said(sample: str) -> str:
    """The sample without what the model thought."""
    thought = _last(_THOUGHT.finditer(sample))
    said = sample[thought.end() :] if thought else sample
    return "" if _THINKS.match(said) else said


def _last(found: Iterator[re.Match[str]]) -> re.Match[str] | None:
    last = None
    for last in found:  # noqa: B007  (the last one is what is wanted)
        pass
    return last


def _length(example: Mapping[str, Any], field: str) -> int:
    listed = example.get(field)
    if not isinstance(listed, Sized) or isinstance(listed, str | bytes):
        where = f"example {example.get('id')!r}: field {field!r}"
        raise ConfigError(f"{where} must be the list that ids() numbers, not {repr(listed)[:60]}")
    return len(listed)


def _listed(inside: str, known: range) -> Iterator[int]:
    """The known numbers of one bracket: 3, or 1, 2, or 4-6."""
    for part in re.split(r"[,;、\s]+", _RANGE.sub("-", inside)):
        if item := _ITEM.fullmatch(part):
            first, last = int(item[1]), int(item[2] or item[1])
            yield from range(max(first, known.start), min(last + 1, known.stop))


def _marked(marker: str) -> str:
    """A pattern of the marker, with decoration around its parts; `around` is what opens before it."""
    colon = marker.rstrip().endswith((":", "："))
    words = r"[^\S\n]+".join(map(re.escape, marker.strip().rstrip(":：").split()))
    wrap = f"[{_DECORATION}]"
    bound = r"(?<![A-Za-z0-9])" if words[:1].isalnum() and words[:1].isascii() else ""
    end = rf"{wrap}{{0,3}}[^\S\n]{{0,3}}[:：]" if colon else ""
    return rf"{bound}(?P<around>(?<!{wrap}){wrap}{{1,3}}|){words}{end}(?P<closed>{wrap}{{0,3}}(?=\s|$))?"


def _seen(line: str) -> str:
    """A line without what shows nothing around it: blanks, zero-width characters, marks of direction."""
    if line.isascii():
        return line.strip()
    seen = [place for place, c in enumerate(line) if not c.isspace() and unicodedata.category(c) != "Cf"]
    return line[seen[0] : seen[-1] + 1] if seen else ""


def _value(after: str, around: str) -> str:
    """The first line that says something, undecorated."""
    lines = map(_seen, after.splitlines())
    line = next((line for line in lines if line and not _FENCE.fullmatch(line)), "")
    if around and line.count(around) == 1:  # what opened before the marker closes here
        line = line.removeprefix(around).removesuffix(around).strip()
    while match := _DECORATED.fullmatch(line):
        if match[1][0] in match[2]:
            break
        line = match[2].strip()
    return line if line.strip(_DECORATION) else ""
