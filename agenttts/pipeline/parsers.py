"""Parsers: one sample's text -> a value. An unusable sample raises ParseError and is counted, never guessed at."""

from __future__ import annotations

import json
import re
from typing import Any

from agenttts.errors import ParseError
from agenttts.pipeline.fingerprint import identified, identified_factory
from agenttts.pipeline.subtask import Parser, SubtaskInput, text

__all__ = ["ids", "json_object", "number", "tagged", "text"]

_NUMBER = re.compile(r"[-+]?\d[\d,]*(?:\.\d+)?")
_BRACKETED = re.compile(r"\[(\d+)\]")


@identified("parsers.number", version=1)
def number(sample: str, _: SubtaskInput) -> float:
    """The last number in the sample.

    Examples:
        >>> at.parsers.number("That makes 1,234 apples.", given)
        1234.0
    """
    found = _NUMBER.findall(sample)
    if not found:
        raise ParseError("no number")
    return float(found[-1].replace(",", ""))


@identified("parsers.json_object", version=1)
def json_object(sample: str, _: SubtaskInput) -> dict[str, Any]:
    """The first JSON object in the sample, whatever stands around it.

    Examples:
        >>> at.parsers.json_object('Sure: {"tool": "crop"} should do.', given)
        {'tool': 'crop'}
    """
    decoder = json.JSONDecoder()
    for match in re.finditer(r"\{", sample):
        try:
            value, _end = decoder.raw_decode(sample, match.start())
        except (json.JSONDecodeError, RecursionError):
            continue
        if isinstance(value, dict):
            return value
    raise ParseError("no JSON object")


@identified_factory("parsers.ids", version=1)
def ids(among: str) -> Parser:
    """Bracketed numbers such as [3], each once, in order; those outside 1..len(example[among]) are dropped.

    Examples:
        >>> given = at.SubtaskInput({"passages": ["Ann lives in Oslo.", "Bob lives in Rome.", "Eve is out."]})
        >>> at.parsers.ids(among="passages")("Passages [3] and [1], not [9]", given)
        (3, 1)

    Args:
        among: The example's field that holds the numbered list.
    """

    def parse(sample: str, given: SubtaskInput) -> tuple[int, ...]:
        known = range(1, len(given.example[among]) + 1)
        found = tuple(dict.fromkeys(i for i in map(int, _BRACKETED.findall(sample)) if i in known))
        if not found:
            raise ParseError("no [number] of a listed item")
        return found

    return parse


@identified_factory("parsers.tagged", version=1)
def tagged(marker: str) -> Parser:
    """What follows the last occurrence of a marker (such as "Answer:"), up to the end of its line.

    Examples:
        >>> at.parsers.tagged("Answer:")("She is from Norway. Answer: Oslo", given)
        'Oslo'
    """

    def parse(sample: str, _: SubtaskInput) -> str:
        _before, found, after = sample.rpartition(marker)
        value = after.strip().splitlines()[0].strip() if after.strip() else ""
        if not found or not value:
            raise ParseError(f"no {marker!r} with something behind it")
        return value

    return parse
