"""An answer that comes as a stream of events though none was asked for, put together as one."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

_TEXTS = ("content", "reasoning_content", "reasoning", "refusal")


def are_events(content: bytes) -> bool:
    """Whether a body is a stream of events."""
    return content.lstrip()[:8].startswith((b"data:", b"event:", b":"))


def answer_of(text: str) -> dict[str, Any]:
    """The answer of the chat API that its chunks add up to.

    Raises:
        ValueError: On an event that is no JSON.
    """
    choices: dict[int, dict[str, Any]] = {}
    answer: dict[str, Any] = {}
    for chunk in _chunks(text):
        answer |= {name: value for name, value in chunk.items() if name != "choices" and value is not None}
        for part in chunk.get("choices") or []:
            whole = choices.setdefault(part.get("index", 0), {"index": part.get("index", 0), "message": {}})
            whole["finish_reason"] = part.get("finish_reason") or whole.get("finish_reason")
            delta = part.get("delta") or part.get("message") or {}
            for name in _TEXTS:
                if isinstance(delta.get(name), str):
                    whole["message"][name] = whole["message"].get(name, "") + delta[name]
            for call in delta.get("tool_calls") or []:
                _add_call(whole["message"].setdefault("tool_calls", []), call)
    return {**answer, "choices": [choices[index] for index in sorted(choices)]}


def _add_call(calls: list[dict[str, Any]], part: Mapping[str, Any]) -> None:
    """A part of a call belongs to that of its index; the arguments come in pieces."""
    place, function = part.get("index", len(calls)), part.get("function") or {}
    while len(calls) <= place:
        calls.append({"function": {"name": "", "arguments": ""}})
    for name in ("name", "arguments"):
        calls[place]["function"][name] += function.get(name) or ""


def _chunks(text: str) -> Iterator[Mapping[str, Any]]:
    for line in text.splitlines():
        data = line.removeprefix("data:").strip()
        if line.startswith("data:") and data and data != "[DONE]":
            chunk = json.loads(data)
            if not isinstance(chunk, Mapping):
                raise ValueError(f"an event that is {type(chunk).__name__}")
            yield chunk
