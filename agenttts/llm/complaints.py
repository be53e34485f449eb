"""What a server says when it declines a request, whatever shape it says it in: its words, its codes, and which field.

| shape | of |
|---|---|
| `{"error": {"message", "type", "param", "code"}}` | OpenAI, Azure, Together, vLLM, llama.cpp, Ollama, LiteLLM |
| `{"type": "error", "error": {"type", "message"}}` | Anthropic |
| `[{"error": {"message", "status", "details": [{"fieldViolations": [...]}]}}]` | Gemini |
| `{"detail": [{"loc": ["body", "seed"], "msg"}]}`, also inside of `message` | Mistral, whatever is built on FastAPI |
| `{"error": {"message", "metadata": {"raw": "the provider's own answer"}}}` | OpenRouter |
| `{"error": "text"}`, `{"message": "text"}`, `{"detail": "text"}`, text, a page of HTML | TGI, gateways, proxies |
"""

from __future__ import annotations

import html
import json
import re
from collections.abc import Collection, Iterator, Mapping
from typing import Any, NamedTuple

DROPPABLE = (
    *("seed", "response_format", "stop", "logprobs", "top_logprobs", "top_p", "top_k", "min_p"),
    *("max_tokens", "temperature", "stream_options", "stream"),
)
"""Fields of a request that it can do without, in the order in which they are given up where several are named."""
_WORDS = ("error", "errors", "message", "detail", "details", "msg", "description", "error_description", "reason")
_CODES = ("code", "type", "status", "error_type")
_OUT_OF_MONEY = ("insufficient_quota", "insufficient_balance", "billing_not_active", "billing_hard_limit_reached")
_NO_CREDIT = re.compile(r"credit balance is too low|insufficient (balance|credit|funds)|out of credits", re.I)
_PAYMENT_REQUIRED = 402
ANY = "*"
"""A field that is refused and not named."""
_OF_A_LENGTH = re.compile(r"context|too (large|long|high|many)|at most|exceed|maximum|greater than|less than", re.I)
_OF_WHAT_IS_ASKED = re.compile(r"model|prompt|message|token|content|polic|safety|key|auth|permission|not found", re.I)
_N = r"candidate|completion choice|(?:multiple|number of) (?:completions|choices)"
_SCHEMA = r"response[_ -]?format|json[_ ]schema|json[_ ]mode|structured[_ ]outputs?"
_OTHERWISE = {"n": _N, "stop": r"\bstop (?:sequences?|words?|strings?)\b", "response_format": _SCHEMA}
"""Other names of fields, and of those whose own is a word of the language."""
_MOST_PARTS, _DEEPEST = 5, 8


class Complaint(NamedTuple):
    """What a server says."""

    text: str
    codes: frozenset[str]
    """Its codes and types, in lower case."""
    fields: frozenset[str]
    """The fields of the request that it names by their place, not in words."""

    @property
    def status(self) -> int | None:
        """The HTTP status that it gives as its code."""
        found = [int(code) for code in self.codes if code.isdecimal() and len(code) == 3 and 400 <= int(code) < 600]
        return min(found, default=None)

    def out_of_money(self, status: int) -> bool:
        """Whether the account is used up, so that no repetition helps."""
        known = status == _PAYMENT_REQUIRED or not self.codes.isdisjoint(_OUT_OF_MONEY)
        return known or _NO_CREDIT.search(self.text) is not None

    def refused(self, sent: Collection[str]) -> str:
        """The field of the request that it is about; `ANY` where it may be one that it does not name; else empty.

        Args:
            sent: The names of the fields that were sent.
        """
        names = [name for name in (*DROPPABLE, "n") if name in sent]
        found = [name for name in names if name in self.fields] or [name for name in names if self._names(name)]
        of_length = _OF_A_LENGTH.search(self.text) is not None
        vague = not found and not of_length and not _OF_WHAT_IS_ASKED.search(self.text)
        return next((name for name in found if name != "max_tokens" or not of_length), ANY if vague else "")

    def _names(self, field: str) -> bool:
        """Whether its words name a field: in quotes, or without where it is no word of the language."""
        loose = re.escape(field).replace("_", "[_ -]?")
        ways = [
            rf"[`'\"“‘(\[]{loose}[`'\"”’)\]]",
            rf"\b(?:for|of|fields?|arguments?|parameters?|property|keys?|inputs?):? {loose}\b",
            rf": *{loose}[.!]?$",
            rf"(?:^|[.;:\n] *){loose}\b *(?:[:=>]|must|is|are|not|should|cannot|can't)",
            _OTHERWISE.get(field, rf"(?<![a-z_]){loose}(?![a-z_])"),
        ]
        return re.search("|".join(ways), self.text, re.I) is not None


def read_complaint(body: Any) -> Complaint:
    """What a body says: text, or what JSON has been read of."""
    value = _parsed(body) if isinstance(body, str) else body
    entries = list(_entries(value))
    codes = {str(each).lower() for name, each in entries if name in _CODES and isinstance(each, str | int)}
    placed = [each for name, each in entries if name in ("param", "field", "pointer") and isinstance(each, str)]
    fields = {each.rpartition("/")[2] for each in placed}
    places = [each for name, each in entries if name == "loc" and isinstance(each, list | tuple)]
    fields |= {str(part) for place in places for part in [p for p in place if p not in ("body", "query")][:1]}
    # A complaint that is quoted in another's text, as Python or JSON writes it.
    text = _words(value) or (body if isinstance(body, str) else json.dumps(body, default=str))
    fields |= set(re.findall(r"['\"]loc['\"]: *[\[(]['\"]body['\"], *['\"](\w+)['\"]", text))
    return Complaint(text.strip(), frozenset(codes), frozenset(fields))


def _parsed(text: str) -> Any:
    """JSON where it is some, else the text; of a page of HTML what a reader sees of it."""
    if text.lstrip()[:1] in ("{", "["):
        try:
            return json.loads(text)
        except (ValueError, RecursionError):
            return text
    if re.match(r"\s*<(!doctype|html|head|body)", text, re.I):
        seen = re.split(r"<(?:script|style).*?</(?:script|style)>|<[^>]*>", text, flags=re.I | re.S)
        lines = [" ".join(html.unescape(each).split()) for each in seen]
        return "; ".join(dict.fromkeys(filter(None, lines))) + " (a page of HTML)"
    return text


def _entries(value: Any, depth: int = 0) -> Iterator[tuple[str, Any]]:
    """The entries of all mappings of a value, those inside of texts included."""
    if depth > _DEEPEST:
        return
    if isinstance(value, str):
        inner = _parsed(value) if value.lstrip()[:1] in ("{", "[") else value
        if not isinstance(inner, str):
            yield from _entries(inner, depth + 1)
    elif isinstance(value, Mapping):
        for name, each in value.items():
            yield str(name), each
            yield from _entries(each, depth + 1)
    elif isinstance(value, list):
        for each in value[:_MOST_PARTS]:
            yield from _entries(each, depth + 1)


def _words(value: Any, depth: int = 0) -> str:
    """What is said, without the shape."""
    if depth > _DEEPEST:
        return ""
    if isinstance(value, str):
        inner = _parsed(value)
        return value.strip() if isinstance(inner, str) and inner is value else _words(inner, depth + 1)
    if isinstance(value, list):
        return "; ".join(words for each in value[:_MOST_PARTS] if (words := _words(each, depth + 1)))
    if not isinstance(value, Mapping):
        return ""
    said = next((words for name in _WORDS if (words := _words(value.get(name), depth + 1))), "")
    place = value.get("loc")
    where = ".".join(map(str, place)) + ": " if isinstance(place, list) and said else ""
    inner = value.get("metadata")
    raw = _words(inner.get("raw"), depth + 1) if isinstance(inner, Mapping) else ""
    return f"{where}{said}: {raw}" if raw and raw != said else f"{where}{said}"
