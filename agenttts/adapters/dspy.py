"""DSPy: `step_model(NAME)` is a `dspy.LM`, to be set on a module (`set_lm`) or in `dspy.context`. See the package.

It is an engine of DSPy 3.4's own interface (complete(Request) -> Response), synchronous and asynchronous. DSPy's cache
is off: the sample pool is the cache.
"""

from __future__ import annotations

import json
import re
from base64 import b64encode
from collections.abc import Iterator
from typing import Any

from agenttts._util.hints import install
from agenttts.errors import ConfigError, ParseError
from agenttts.execution.current import current_step
from agenttts.pipeline import Message, SubtaskInput
from agenttts.pipeline.fingerprint import identified
from agenttts.pipeline.operators import Drawn, ToolCall
from agenttts.pipeline.tools import calls_message

try:
    import dspy
    from dspy.lm15 import (
        FunctionTool,
        ImagePart,
        Request,
        Response,
        TextPart,
        ThinkingPart,
        ToolCallPart,
        ToolResultPart,
        Usage,
    )
    from dspy.lm15 import Message as DspyMessage
except ImportError as error:
    raise ConfigError(f"the DSPy adapter needs DSPy 3.4: {install('dspy')}") from error


_FIELD = re.compile(r"\[\[ ## (\w+) ## \]\]\s*(.*?)(?=\[\[ ## |\Z)", re.S)
"""One of DSPy's `ChatAdapter`."""
_ASIDE = ("next_thought", "reasoning", "completed")
_TOOL = "next_tool_name"


@identified("adapters.dspy.engine", version=1, scored=("step",))
class _Engine:
    """Asks a step from a thread, as DSPy's blocking calls do."""

    supports_function_calling = True
    """Read by DSPy: an adapter that sends tools as such may do so."""

    def __init__(self, step: str) -> None:
        self.step = step

    def complete(self, request: Request) -> Response:
        step = current_step(self.step)
        asked = step.turn(_plain(self.step, request), _fields(self.step, request))
        return _response(self.step, step.wait(asked))


@identified("adapters.dspy.async_engine", version=1, scored=("step",))
class _AsyncEngine:
    """Asks a step from the event loop."""

    supports_function_calling = True

    def __init__(self, step: str) -> None:
        self.step = step

    async def complete(self, request: Request) -> Response:
        step = current_step(self.step)
        return _response(self.step, await step.turn(_plain(self.step, request), _fields(self.step, request)))


def step_model(name: str) -> Any:
    """The language model of a step.

    Examples:
        >>> from agenttts.adapters.dspy import step_model
        >>> step_model("answer").model
        'agenttts/answer'

    Args:
        name: Name of the subtask, whose model and samples the allocation decides.
    """
    engine, async_engine = _Engine(name), _AsyncEngine(name)
    return dspy.LM(f"agenttts/{name}", engine=engine, async_engine=async_engine, cache=False, num_retries=0)


@identified("adapters.dspy.react", version=1)
def react(sample: str, _: SubtaskInput) -> Any:
    """Parser of a step that `dspy.ReAct` asks: votes compare which tool is called with which arguments, or what is
    answered in the end, whatever was thought before.

    Raises:
        ParseError: When a sample holds no such field, or arguments that are no JSON.
    """
    fields = {name: text.strip() for name, text in _FIELD.findall(sample) if name not in _ASIDE}
    if not fields:
        raise ParseError("no field but thoughts")
    if _TOOL not in fields:
        return fields
    try:
        return [{"name": fields[_TOOL], "arguments": json.loads(fields.get("next_tool_args") or "{}")}]
    except ValueError as error:
        raise ParseError("the arguments of the tool are no JSON") from error


def _plain(step: str, request: Request) -> list[Message]:
    system = request.system if isinstance(request.system, str) else _text(step, request.system or ())
    rows = [row for message in request.messages for row in _rows(step, message)]
    return [{"role": "system", "content": system}, *rows] if system else rows


def _rows(step: str, message: DspyMessage) -> Iterator[Message]:
    """A message as the chat API has it: each result of a tool is one of its own."""
    parts = [part for part in message.parts if not isinstance(part, ThinkingPart)]
    for part in parts:
        if isinstance(part, ToolResultPart):
            yield {"role": "tool", "tool_call_id": part.id, "content": _text(step, part.content)}
    calls = [ToolCall(part.id, part.name, dict(part.input)) for part in parts if isinstance(part, ToolCallPart)]
    others = [part for part in parts if not isinstance(part, ToolResultPart | ToolCallPart)]
    if calls:
        yield calls_message(_text(step, others), calls)
    elif any(isinstance(part, ImagePart) for part in others):
        yield {"role": message.role, "content": [_part(step, part) for part in others]}
    elif others:
        yield {"role": message.role, "content": _text(step, others)}


def _part(step: str, part: Any) -> dict[str, Any]:
    if not isinstance(part, ImagePart):
        return {"type": "text", "text": _text(step, [part])}
    if part.file_id is not None:
        raise ConfigError(f"step {step!r}: an image must be a URL, a file or data, not the file_id of a provider")
    url = part.url or f"data:{part.media_type};base64,{b64encode(part.bytes).decode()}"
    return {"type": "image_url", "image_url": {"url": url}}


def _text(step: str, parts: Any) -> str:
    odd = next((part for part in parts if not isinstance(part, TextPart)), None)
    if odd is not None:
        raise ConfigError(
            f"step {step!r}: a message holds {odd.type!r} where a step cannot send it: it sends text, images and "
            "results of tools"
        )
    return "".join(part.text for part in parts)


def _fields(step: str, request: Request) -> dict[str, Any] | None:
    """What a request offers beside its messages; None where that is nothing."""
    if not request.tools:
        return None
    odd = next((tool for tool in request.tools if not isinstance(tool, FunctionTool)), None)
    if odd is not None:
        raise ConfigError(f"step {step!r} can offer functions as tools, not what a provider has built in ({odd!r:.80})")
    tools = [
        {
            "type": "function",
            "function": {
                "name": tool.name,
                **({"description": tool.description} if tool.description else {}),
                "parameters": dict(tool.parameters),
            },
        }
        for tool in request.tools
    ]
    chosen = request.config.tool_choice
    return {"tools": tools} if chosen is None else {"tools": tools, **_choice(chosen)}


def _choice(chosen: Any) -> dict[str, Any]:
    only = {"type": "function", "function": {"name": chosen.allowed[0]}} if len(chosen.allowed) == 1 else chosen.mode
    return {"tool_choice": only, **({} if chosen.parallel is None else {"parallel_tool_calls": chosen.parallel})}


def _response(step: str, drawn: Drawn) -> Response:
    # Tokens are counted where they are requested, not by DSPy.
    usage = Usage(input_tokens=0, output_tokens=0, total_tokens=0)
    text = drawn.message["content"]
    calls = [ToolCallPart(id=call.id, name=call.name, input=call.arguments) for call in drawn.calls]
    message = DspyMessage.assistant([*([TextPart(text)] if text or not calls else []), *calls])
    reason = "tool_call" if calls else "stop"
    return Response(id=None, model=step, message=message, finish_reason=reason, usage=usage)
