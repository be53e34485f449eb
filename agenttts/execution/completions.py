"""Chat completions that a step answers: a request as the step's draw, and what was drawn as the completion.

The official client of `adapters.openai` and the proxy of a command (`execution.commands`) both go through here. Model,
number of samples and sampling are the step's, whatever a request says; tools, the form of the answer and where it
stops go with it.
Samples are voted on before there is an answer, so `stream` brings the whole answer as one chunk. Tokens are counted
where the models are asked, so the usage is 0.
"""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Self

from agenttts._util.text import storable_data
from agenttts.errors import ConfigError
from agenttts.pipeline import Message
from agenttts.pipeline.operators import Drawn

NAMED = "step:"
"""How the name of a model begins that says which step is asked."""
REQUEST_FIELDS = ("tools", "tool_choice", "parallel_tool_calls", "response_format", "stop")
"""What a request may add to its messages; how else is sampled is the subtask's."""
_UNFIT = ("functions", "audio", "logprobs")
"""What changes what comes back, and no step does."""
_OF_TOOLS = ("tool_calls", "tool_call_id")
_PARTS = ("text", "image_url")


class StepRequest(NamedTuple):
    """A request that a step answers."""

    step: str
    messages: Sequence[Message]
    fields: Mapping[str, Any] | None
    """What goes with the messages; None where that is nothing."""
    streamed: bool

    @classmethod
    def read(cls, step: str, body: Any) -> Self:
        """A request from its body.

        Raises:
            ConfigError: When it is none, or asks for what a step does not do.
        """
        rows = body.get("messages") if isinstance(body, Mapping) else None
        if not isinstance(rows, list) or not all(isinstance(row, Mapping) for row in rows) or not rows:
            raise ConfigError(
                f"step {step!r} answers chat completions alone: the body of a request needs a list of messages"
            )
        odd = [name for name in _UNFIT if body.get(name)] + (["n"] if body.get("n") not in (None, 1) else [])
        if odd:
            raise ConfigError(
                f"step {step!r} takes no {odd[0]!r} in a request: declare it in the subtask, or leave it out"
            )
        fields = {name: body[name] for name in REQUEST_FIELDS if body.get(name) is not None}
        return cls(step, [plain_message(step, row) for row in rows], fields or None, bool(body.get("stream")))

    def completion(self, drawn: Drawn) -> tuple[str, str]:
        """Content type and body of the answer, as a server would send it."""
        ended = "tool_calls" if drawn.calls else "length" if drawn.ended else "stop"
        head = {"id": f"chatcmpl-{uuid.uuid4().hex}", "created": int(time.time()), "model": f"{NAMED}{self.step}"}
        said = {**drawn.message, "content": drawn.message["content"] or None} if drawn.calls else drawn.message
        if not self.streamed:
            whole = {"index": 0, "message": said, "finish_reason": ended, "logprobs": None}
            usage = {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}
            completion = {**head, "object": "chat.completion", "choices": [whole], "usage": usage}
            return "application/json", json.dumps(storable_data(completion))
        if drawn.calls:
            said = {**said, "tool_calls": [{"index": i, **call} for i, call in enumerate(said["tool_calls"])]}
        choices = (
            {"index": 0, "delta": said, "finish_reason": None},
            {"index": 0, "delta": {}, "finish_reason": ended},
        )
        chunks = [{**head, "object": "chat.completion.chunk", "choices": [choice]} for choice in choices]
        events = "".join(f"data: {json.dumps(storable_data(chunk))}\n\n" for chunk in chunks)
        return "text/event-stream", f"{events}data: [DONE]\n\n"


def refusal(message: str) -> str:
    """The body of an answer that is none."""
    error = {"message": message, "type": "invalid_request_error", "param": None, "code": None}
    return json.dumps(storable_data({"error": error}))


def named_step(body: Any) -> str:
    """The step that a request's model names; empty where it names none."""
    model = body.get("model") if isinstance(body, Mapping) else None
    return model.removeprefix(NAMED) if isinstance(model, str) and model.startswith(NAMED) else ""


def plain_message(step: str, row: Mapping[str, Any]) -> Message:
    """A message of the chat API, as a step sends it: parts that are all text are one text.

    Raises:
        ConfigError: When it holds what a step cannot send.
    """
    content, parts = row.get("content") or "", []
    if not isinstance(content, str):
        parts = [part if isinstance(part, Mapping) else {} for part in content]
        content = parts
    if odd := next((part for part in parts if part.get("type") not in _PARTS), None):
        raise ConfigError(
            f"step {step!r}: a message holds {odd.get('type')!r}, which a step cannot send: it sends text, images and "
            "results of tools"
        )
    if parts and all(part["type"] == "text" for part in parts):
        content = "".join(part["text"] for part in parts)
    kept = {name: row[name] for name in _OF_TOOLS if row.get(name)}
    return {"role": str(row.get("role", "user")), "content": content, **kept}
