"""What an answer of the chat API holds: completions, in the order of their `index`.

| a choice has | it is |
|---|---|
| text, or a list of parts with text | a completion; the parts are joined, what was thought (`<think>`) is left out |
| text, and ends by `length` | a completion that is unfinished: it counts where no whole one can be used |
| a thought that does not end | a completion whose tokens were used up: nothing to parse |
| a refusal, or ends by `content_filter` | a completion that is a refusal: there is nothing to parse |
| no text, and ends by `length` | a completion whose tokens were used up by reasoning: nothing to parse |
| calls of tools, where some were offered | a completion that holds them (`pipeline.tools`) |
| empty text, an unasked call of a tool, or reasoning and no text | an empty completion: nothing to parse |
| none of these, an error, or broken off by its server (`error`, `abort`) | no completion: it is asked for again |
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any

from agenttts._util.text import storable
from agenttts.llm.asking import ErrorAnswer, NotAnAnswer
from agenttts.llm.samples import Ended
from agenttts.pipeline import Message
from agenttts.pipeline.operator import TokenLogprobs
from agenttts.pipeline.tools import calls_text, tool_calls

_TOOLS = ("tool_calls", "function_call")
_REASONING = ("reasoning_content", "reasoning")
_LEAST_LOGPROB = -9999.0
"""Minus infinity, as vLLM writes it: JSON has none."""
_BEGIN = r"(?:<(?:\w+:)?(?:think|thinking|thought)>|◁think▷|(?-i:\[THINK\]))"
_END = r"(?:</(?:\w+:)?(?:think|thinking|thought)>|◁/think▷|(?-i:\[/THINK\]))"
_THOUGHT = re.compile(f"{_BEGIN}.*?{_END}", re.I | re.S)
_BEFORE = re.compile(f"^.*?{_END}", re.I | re.S)
"""A thought whose beginning is part of the prompt's template."""
_BEGUN = re.compile(_BEGIN, re.I)
_CHANNEL, _FINAL = "<|channel|>", re.compile(r"<\|channel\|>final<\|message\|>(.*?)(?:<\||\Z)", re.S)
"""Of gpt-oss, where its server does not tell them apart: only the last channel is the answer."""
_ENDS = (
    *("<|im_end|>", "<|eot_id|>", "<|eom_id|>", "<|end|>", "<|endoftext|>", "<|end_of_text|>", "<|return|>"),
    *("<end_of_turn>", "<｜end▁of▁sentence｜>"),
)
"""Tokens by which models end, which some servers leave in the text."""
_MOST_ENDS = 8
"""At the end of one text."""
_OF_A_THOUGHT = re.compile(r"think|thought|reason", re.I)
"""Types of the parts of a content that are none of the answer."""
_OF_LENGTH = re.compile(r"length|max.*tokens|token.limit", re.I)
_OF_A_FILTER = re.compile(
    r"filter|safety|recitation|blocklist|prohibited|refus|guardrail|moderation|sensitive|spii", re.I
)
"""How else servers say that a choice ended by `length`, or by `content_filter`."""
_BROKEN_OFF = re.compile(
    r"error|abort|cancel|interrupt|time.?out|fail|unavailable|overload|preempt|evict|shutdown|insufficient|disconnect",
    re.I,
)
"""How servers say that they broke a choice off themselves; its text is a part of one."""


@dataclass(frozen=True)
class ReadChoice:
    """One completion."""

    text: str
    finish_reason: str
    ended: Ended = ""
    thought: str = ""
    """What was generated beside the text."""
    calls: tuple[tuple[str, str], ...] = ()
    """Names of tools that are called, each with its arguments as JSON."""
    logprobs: tuple[TokenLogprobs, ...] = ()
    """Of all tokens that were generated, where they are told."""

    @property
    def generated(self) -> str:
        """All that was generated, by which tokens are counted."""
        return "".join((self.thought, self.text, *chain.from_iterable(self.calls)))

    def with_calls(self, messages: Sequence[Message]) -> ReadChoice:
        """As a completion that holds its calls, where it makes some and was not cut off."""
        if not self.calls or self.ended in ("cut", "unfinished", "refused"):
            return self
        text = calls_text(self.text, tool_calls(self.calls, messages))
        return replace(self, text=storable(text), ended="called", calls=())


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

    def stopped(self, stop: Sequence[str]) -> Choices:
        """As if the server had stopped at the first of these texts, for one that does not."""
        return replace(self, usable=[replace(each, text=_until(each.text, stop)) for each in self.usable])

    def with_calls(self, messages: Sequence[Message]) -> Choices:
        """For a request that has offered tools.

        Args:
            messages: Its prompt.
        """
        return replace(self, usable=[each.with_calls(messages) for each in self.usable])


def require_no_error(answer: Any) -> None:
    """Let nothing pass that is no object, or that calls itself an error, whatever is beside it.

    Raises:
        NotAnAnswer: Where it is so.
    """
    if not isinstance(answer, Mapping):
        raise NotAnAnswer(f"{type(answer).__name__} instead of an object")
    if answer.get("error"):
        raise ErrorAnswer(answer)


def read_choices(answer: Any, most: int) -> Choices:
    """The completions of an answer, at most so many.

    Raises:
        NotAnAnswer: When it holds none.
    """
    require_no_error(answer)
    choices = answer.get("choices")
    if not isinstance(choices, list) or not choices:
        said = answer.get("detail") or any(isinstance(answer.get(name), str) for name in ("message", "msg"))
        raise ErrorAnswer(answer) if said else NotAnAnswer("no choices")
    found = [_choice(each) for each in _in_order(choices)[:most]]
    usable = [each for each in found if each is not None]
    if not usable:
        errors = [choice["error"] for choice in choices if isinstance(choice, Mapping) and choice.get("error")]
        raise ErrorAnswer({"error": errors[0]}) if errors else NotAnAnswer("choices without content")
    return Choices(usable, len(choices), answer.get("usage"), "timings" in answer)


def without_thoughts(text: str) -> str:
    """A completion without what was thought before it was given; all of it where a thought does not end."""
    said, _ = _answered(text)
    return text if said is None else said


def _until(text: str, stop: Sequence[str]) -> str:
    return text[: min((place for each in stop if (place := text.find(each)) >= 0), default=len(text))]


def _in_order(choices: list[Any]) -> list[Any]:
    """By index, where every choice has one of its own; else as they came."""
    placed = {choice["index"]: choice for choice in choices if _has_place(choice)}
    return [placed[place] for place in sorted(placed)] if len(placed) == len(choices) else choices


def _has_place(choice: Any) -> bool:
    return isinstance(choice, Mapping) and type(choice.get("index")) is int


def _choice(choice: Any) -> ReadChoice | None:
    """A completion; None where it is none."""
    if not isinstance(choice, Mapping) or choice.get("error"):
        return None
    reason, message = _reason(choice.get("finish_reason")), choice.get("message")
    if message is None and reason == "content_filter":
        message = {}
    if not isinstance(message, Mapping) or _BROKEN_OFF.search(reason):
        return None
    content, refusal = _texts(message.get("content"))
    given = message.get("refusal")
    refusal = given if isinstance(given, str) and given else refusal
    aside = next((each for name in _REASONING if isinstance(each := message.get(name), str) and each), "")
    if refusal or reason == "content_filter":
        return ReadChoice(storable(content or refusal or ""), reason, "refused", storable(aside))
    if content is None and not (reason in (*_TOOLS, "length") or any(message.get(n) for n in (*_TOOLS, *_REASONING))):
        return None
    said, thought = _answered(_without_ends(content or ""))
    ended, told = _ended(said, reason), _logprobs(choice.get("logprobs"))
    return ReadChoice(storable(said or ""), reason, ended, storable(aside + thought), _calls(message), told)


def _logprobs(given: Any) -> tuple[TokenLogprobs, ...]:
    """Those of every token; none at all where one is not told as the chat API tells them."""
    try:
        return tuple(
            tuple((storable(each["token"]), _logprob(each)) for each in (token, *(token.get("top_logprobs") or ())))
            for token in given["content"]
        )
    except (AttributeError, LookupError, TypeError, ValueError):
        return ()


def _logprob(token: Mapping[str, Any]) -> float:
    number = float(token["logprob"])
    if math.isnan(number):
        raise ValueError("a log probability that is no number")
    return min(max(number, _LEAST_LOGPROB), 0.0)


def _calls(message: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    listed = message.get("tool_calls")
    made = [call.get("function") for call in listed if isinstance(call, Mapping)] if isinstance(listed, list) else []
    found = []
    for call in [*made, message.get("function_call")]:
        if isinstance(call, Mapping) and isinstance(call.get("name"), str):
            arguments = call.get("arguments") or ""  # as text, but some servers write them as JSON
            found.append((call["name"], arguments if isinstance(arguments, str) else json.dumps(arguments)))
    return tuple(found)


def _reason(given: Any) -> str:
    """Why a choice ended, in the words of the chat API where it is known."""
    reason = given if isinstance(given, str) else ""
    if _OF_LENGTH.search(reason):
        return "length"
    return "content_filter" if _OF_A_FILTER.search(reason) else reason


def _ended(said: str | None, reason: str) -> Ended:
    """Why there is nothing, or not all, to parse."""
    if said is None or (reason == "length" and not said.strip()):
        return "cut"
    if not said.strip():
        return "empty"
    return "unfinished" if reason == "length" else ""


def _answered(text: str) -> tuple[str | None, str]:
    """A text without what was thought, and that; None where a thought does not end, and nothing is an answer."""
    if _CHANNEL in text:
        final = _FINAL.search(text)
        return (final[1], text[: final.start()]) if final else (None, text)
    said = _THOUGHT.sub("", text)
    begun, closed = _BEGUN.search(said), _BEFORE.match(said)
    if closed and not (begun and begun.start() < closed.end()):
        said = said[closed.end() :]
    elif begun:
        return None, text
    return (said, "") if said == text else (said.lstrip(), text[: len(text) - len(said)])


def _without_ends(text: str) -> str:
    for _ in range(_MOST_ENDS):
        if not (shown := text.rstrip()).endswith(_ENDS):
            break
        text = shown[: shown.rindex("<")]
    return text


def _texts(content: Any) -> tuple[str | None, str]:
    """The text of a content, None where it is none; and the refusal that is among its parts."""
    if not isinstance(content, list):
        return content if isinstance(content, str) else None, ""
    parts = [part if isinstance(part, Mapping) else {"text": part} for part in content]
    answering = [part for part in parts if not _OF_A_THOUGHT.search(str(part.get("type", "")))]
    texts = [part["text"] for part in answering if isinstance(part.get("text"), str)]
    refusals = [part["refusal"] for part in parts if isinstance(part.get("refusal"), str)]
    return "".join(texts) if texts or not content else None, "".join(refusals)
