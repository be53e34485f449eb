"""What an answer of the chat API holds: completions, in the order of their `index`.

| a choice has | it is |
|---|---|
| text, or a list of parts with text | a completion; the parts are joined |
| a refusal, or ends by `content_filter` | a completion that is a refusal: there is nothing to parse |
| no text, and ends by `length` | a completion whose tokens were used up by reasoning: nothing to parse |
| empty text, a call of a tool, or reasoning and no text | an empty completion |
| none of these (null, no message, another type), or ends by `error` or `abort` | no completion: it is asked for again |
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from agenttts._util.text import storable
from agenttts.llm.asking import NotAnAnswer
from agenttts.llm.endpoint import complaint
from agenttts.llm.samples import Ended

_TOOLS = ("tool_calls", "function_call")
_BROKEN_OFF = ("error", "abort")
"""How servers end a choice that they broke off themselves; its text is a part of one."""
_REASONING = ("reasoning_content", "reasoning")


@dataclass(frozen=True)
class ReadChoice:
    """One completion."""

    text: str
    finish_reason: str
    ended: Ended = ""


@dataclass(frozen=True)
class Choices:
    """The completions of one answer."""

    usable: Sequence[ReadChoice]
    """At least one."""
    given: int
    """How many choices there were, those that are no completion included."""
    usage: Any = None
    """What the server tells of their tokens."""
    timed: bool = False
    """Whether it tells timings, as llama.cpp does."""


def read_choices(answer: Any, most: int) -> Choices:
    """The completions of an answer, at most so many.

    Raises:
        NotAnAnswer: When it holds none.
    """
    if not isinstance(answer, Mapping):
        raise NotAnAnswer(f"{type(answer).__name__} instead of an object")
    if answer.get("error"):
        raise NotAnAnswer(complaint(storable(str(answer["error"]))))
    choices = answer.get("choices")
    if not isinstance(choices, list) or not choices:
        raise NotAnAnswer("no choices")
    found = [_choice(each) for each in _in_order(choices)[:most]]
    usable = [each for each in found if each is not None]
    if not usable:
        raise NotAnAnswer("choices without content")
    return Choices(usable, len(choices), answer.get("usage"), "timings" in answer)


def _in_order(choices: list[Any]) -> list[Any]:
    """By index, where every choice has one of its own; else as they came."""
    placed = {choice["index"]: choice for choice in choices if _has_place(choice)}
    return [placed[place] for place in sorted(placed)] if len(placed) == len(choices) else choices


def _has_place(choice: Any) -> bool:
    return isinstance(choice, Mapping) and type(choice.get("index")) is int


def _choice(choice: Any) -> ReadChoice | None:
    """A completion; None where it is none."""
    message = choice.get("message") if isinstance(choice, Mapping) else None
    if not isinstance(message, Mapping):
        return None
    reason = choice.get("finish_reason")
    reason = reason if isinstance(reason, str) else ""
    if reason in _BROKEN_OFF:
        return None
    text, refusal = _texts(message.get("content"))
    given = message.get("refusal")
    refusal = given if isinstance(given, str) and given else refusal
    if refusal or reason == "content_filter":
        return ReadChoice(storable(text or refusal or ""), reason, "refused")
    if reason == "length" and not (text or "").strip():
        return ReadChoice("", reason, "cut")
    if text is None and (reason in _TOOLS or any(message.get(name) for name in (*_TOOLS, *_REASONING))):
        text = ""
    return None if text is None else ReadChoice(storable(text), reason)


def _texts(content: Any) -> tuple[str | None, str]:
    """The text of a content, None where it is none; and the refusal that is among its parts."""
    if not isinstance(content, list):
        return content if isinstance(content, str) else None, ""
    parts = [part if isinstance(part, Mapping) else {"text": part} for part in content]
    texts = [part["text"] for part in parts if isinstance(part.get("text"), str)]
    refusals = [part["refusal"] for part in parts if isinstance(part.get("refusal"), str)]
    return "".join(texts) if texts or not content else None, "".join(refusals)
