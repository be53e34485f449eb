"""Tools that a stage offers, and the calls of them that a model makes instead of an answer, or beside it.

A sample with calls is kept as one JSON text, `{"content": ..., "tool_calls": [{"id", "name", "arguments"}]}`. Its value
is the list of names and arguments, so that votes count equal calls together, whatever the order of their arguments, the
text beside them and their ids. Ids are ours: two samples that call the same at the same point of a conversation have
the same, so that what follows is asked, and paid for, once.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from agenttts._util.checks import Kind
from agenttts.pipeline.model import Message

_ID_LENGTH = 9
"""As Mistral's servers want ids."""


class ToolCall(NamedTuple):
    """One call of a tool.

    Examples:
        >>> at.operators.ToolCall("a1b2c3d4e", "search", {"query": "Emma"}).name
        'search'
    """

    id: str
    """By which a message of role "tool" says whose result it is."""
    name: str
    """Of the tool."""
    arguments: Any
    """A mapping; the text as it came where it is none."""


def tool_calls(made: Sequence[tuple[str, str]], messages: Sequence[Message]) -> tuple[ToolCall, ...]:
    """The calls of one sample.

    Args:
        made: Names, and arguments as JSON.
        messages: The prompt.
    """
    found = []
    for place, (name, text) in enumerate(made):
        arguments = _read(text)
        content = json.dumps([list(messages), place, name, arguments], sort_keys=True)
        found.append(ToolCall(hashlib.sha256(content.encode()).hexdigest()[:_ID_LENGTH], name, arguments))
    return tuple(found)


def _read(text: str) -> Any:
    try:
        arguments = json.loads(text or "{}")
    except (ValueError, RecursionError):
        return text
    return arguments if isinstance(arguments, dict) else text


def calls_text(content: str, calls: Sequence[ToolCall]) -> str:
    """A sample with calls as it is kept."""
    return json.dumps({"content": content, "tool_calls": [call._asdict() for call in calls]}, ensure_ascii=False)


def read_calls(text: str) -> tuple[str, tuple[ToolCall, ...]]:
    """The text and the calls of a sample that `calls_text` has kept."""
    kept = json.loads(text)
    return kept["content"], tuple(ToolCall(**call) for call in kept["tool_calls"])


def calls_value(calls: Sequence[ToolCall]) -> list[dict[str, Any]] | None:
    """What calls are compared by; None where the arguments of one cannot be read."""
    if not all(isinstance(call.arguments, dict) for call in calls):
        return None
    return [{"name": call.name, "arguments": call.arguments} for call in calls]


def calls_message(content: str, calls: Sequence[ToolCall]) -> Message:
    """The message of role "assistant" that says this."""
    if not calls:
        return {"role": "assistant", "content": content}
    sent = [
        {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": _written(call.arguments)}}
        for call in calls
    ]
    return {"role": "assistant", "content": content, "tool_calls": sent}


def _written(arguments: Any) -> str:
    return arguments if isinstance(arguments, str) else json.dumps(arguments, ensure_ascii=False)


def message_text(message: Mapping[str, Any]) -> str:
    """What a message says, for people and other prompts: an image is named, a call of a tool is JSON."""
    content = message.get("content")
    parts = content if isinstance(content, list) else [content or ""]
    called = [json.dumps(call["function"], ensure_ascii=False) for call in message.get("tool_calls") or ()]
    return "\n".join(filter(None, (*map(_part_text, parts), *called)))


def _part_text(part: Any) -> str:
    if not isinstance(part, Mapping):
        return str(part)
    return str(part["text"]) if "text" in part else f"[{str(part.get('type')).removesuffix('_url')}]"


TOOL = Kind(
    'tools as the chat API takes them: {"type": "function", "function": {"name": ..., "parameters": {...}}}',
    lambda value: (
        isinstance(value, Mapping)
        and isinstance(value.get("function"), Mapping)
        and isinstance(value["function"].get("name"), str)
    ),
)
