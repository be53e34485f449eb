"""DSPy: `step_model(NAME)` is a `dspy.LM`, to be set on a module (`set_lm`) or in `dspy.context`. See the package.

It is an engine of DSPy 3.4's own interface (complete(Request) -> Response), synchronous and asynchronous. DSPy's cache
is off: the sample pool is the cache.
"""

from __future__ import annotations

from typing import Any

from agenttts._util.hints import install
from agenttts.errors import ConfigError
from agenttts.execution.run import current_step
from agenttts.pipeline import Message
from agenttts.pipeline.fingerprint import identified

try:
    import dspy
    from dspy.lm15 import Message as DspyMessage
    from dspy.lm15 import Request, Response, TextPart, Usage
except ImportError as error:
    raise ConfigError(f"the DSPy adapter needs DSPy 3.4: {install('dspy')}") from error


@identified("adapters.dspy.engine", version=1, scored=("step",))
class _Engine:
    """Asks a step from a thread, as DSPy's blocking calls do."""

    def __init__(self, step: str) -> None:
        self.step = step

    def complete(self, request: Request) -> Response:
        step = current_step(self.step)
        return _response(self.step, step.wait(step.reply(_plain(self.step, request))))


@identified("adapters.dspy.async_engine", version=1, scored=("step",))
class _AsyncEngine:
    """Asks a step from the event loop."""

    def __init__(self, step: str) -> None:
        self.step = step

    async def complete(self, request: Request) -> Response:
        return _response(self.step, await current_step(self.step).reply(_plain(self.step, request)))


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


def _plain(step: str, request: Request) -> list[Message]:
    if request.tools:
        raise ConfigError(f"step {step!r} cannot send tools")
    system = request.system if isinstance(request.system, str) else _text(step, request.system or ())
    rows = [{"role": message.role, "content": _text(step, message.parts)} for message in request.messages]
    return [{"role": "system", "content": system}, *rows] if system else rows


def _text(step: str, parts: Any) -> str:
    if not all(isinstance(part, TextPart) for part in parts):
        raise ConfigError(f"step {step!r}: a message holds more than text, which a step cannot send")
    return "".join(part.text for part in parts)


def _response(step: str, text: str) -> Response:
    # Tokens are counted where they are requested, not by DSPy.
    usage = Usage(input_tokens=0, output_tokens=0, total_tokens=0)
    return Response(id=None, model=step, message=DspyMessage.assistant(text), finish_reason="stop", usage=usage)
