"""An answer that comes as a stream of events though none was asked for, put together as one."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from agenttts._util.strict_json import bounded_int

_TEXTS = ("content", "reasoning_content", "reasoning", "refusal")
_BEGINS = (b"data:", b"event:", b"id:", b"retry:", b":")
_BOM = b"\xef\xbb\xbf"
_DONE = "[DONE]"
_LINE_END = re.compile(r"\r\n|\n|\r")
"""A text may hold other ends of lines, which JSON need not escape."""


def are_events(content: bytes) -> bool:
    """Whether a body is a stream of events."""
    return content.removeprefix(_BOM).lstrip()[:8].startswith(_BEGINS)


def answer_of(text: str) -> dict[str, Any]:
    """The answer of the chat API that its chunks add up to.

    A choice whose end is not told ended with the stream where that says that it is done, and else was broken off.

    Raises:
        ValueError: On an event that is none of the chat API.
    """
    try:
        return _answer_of(text)
    except (AttributeError, TypeError, LookupError) as error:
        raise ValueError("an event of another kind") from error


def _answer_of(text: str) -> dict[str, Any]:
    choices: dict[int, dict[str, Any]] = {}
    calls: dict[int, dict[int, dict[str, Any]]] = {}
    answer: dict[str, Any] = {}
    done = False
    for name, data in _events(text):
        if data == _DONE:
            done = True
            continue
        chunk = _chunk(name, data)
        answer |= {name: value for name, value in chunk.items() if name != "choices" and value is not None}
        for part in chunk.get("choices") or []:
            index = _place(part, 0)
            whole = choices.setdefault(index, {"index": index, "finish_reason": None, "message": {}})
            whole["finish_reason"] = part.get("finish_reason") or whole["finish_reason"]
            delta = part.get("delta") or part.get("message") or {}
            for name in _TEXTS:
                if isinstance(delta.get(name), str):
                    whole["message"][name] = whole["message"].get(name, "") + delta[name]
            for call in delta.get("tool_calls") or []:
                _add_call(calls.setdefault(index, {}), call)
    for index, made in calls.items():
        choices[index]["message"]["tool_calls"] = [made[place] for place in sorted(made)]
    if not done:
        for whole in choices.values():
            whole["finish_reason"] = whole["finish_reason"] or "error"
    return {**answer, "choices": [choices[index] for index in sorted(choices)]}


def _place(part: Mapping[str, Any], default: int) -> int:
    """The index of a part.

    Raises:
        TypeError: When it is none.
    """
    index = part.get("index")
    if index is None:
        return default
    if type(index) is not int:
        raise TypeError(f"an index that is {index!r}")
    return index


def _add_call(calls: dict[int, dict[str, Any]], part: Mapping[str, Any]) -> None:
    """A part of a call belongs to that of its index; the arguments come in pieces."""
    call = calls.setdefault(_place(part, len(calls)), {"function": {"name": "", "arguments": ""}})
    function = part.get("function") or {}
    for name in ("name", "arguments"):
        call["function"][name] += function.get(name) or ""


def _chunk(name: str, data: str) -> Mapping[str, Any]:
    """What an event says; one that is called an error, or calls itself one, is none of the answer's."""
    chunk = json.loads(data, parse_int=bounded_int)
    if not isinstance(chunk, Mapping):
        raise ValueError(f"an event that is {type(chunk).__name__}")
    is_error = "error" in (name, chunk.get("object"), chunk.get("type"))
    return {"error": chunk.get("error") or chunk} if is_error else chunk


def _events(text: str) -> Iterator[tuple[str, str]]:
    """The name and the data of each event; the last one need not be followed by an empty line."""
    name, data = "", list[str]()
    for line in (*_LINE_END.split(text.removeprefix("\ufeff")), ""):
        field, _, value = line.partition(":")
        if field == "data":
            data.append(value.strip())
        elif field == "event":
            name = value.strip()
        elif not line:
            if whole := "\n".join(data).strip():
                yield name, whole
            name, data = "", []
