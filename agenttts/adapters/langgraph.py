"""LangGraph, and whatever else calls LangChain chat models: `step_model(NAME)` is a chat model. See the package."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel, LanguageModelInput
from langchain_core.messages import AIMessage, BaseMessage, convert_to_openai_messages
from langchain_core.outputs import ChatGeneration, ChatResult
from langchain_core.runnables import Runnable
from langchain_core.tools import BaseTool
from langchain_core.utils.function_calling import convert_to_openai_tool

from agenttts.errors import ConfigError
from agenttts.execution.completions import REQUEST_FIELDS, plain_message
from agenttts.execution.current import current_step
from agenttts.pipeline import Message
from agenttts.pipeline.fingerprint import identified
from agenttts.pipeline.operators import Drawn

_OF_LANGCHAIN = ("ls_structured_output_format", "strict")


@identified("adapters.langgraph.step_model", version=1, scored=("step",))
class StepModel(BaseChatModel):
    """A chat model whose replies are those of a step of the pipeline that is being run."""

    step: str
    """Name of the subtask."""

    @property
    def _llm_type(self) -> str:
        return "agenttts-step"

    async def _agenerate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        request = self._request(stop, kwargs)
        return _result(await current_step(self.step).turn(self._plain(messages), request))

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        step, request = current_step(self.step), self._request(stop, kwargs)
        return _result(step.wait(step.turn(self._plain(messages), request)))

    def bind_tools(
        self,
        tools: Sequence[dict[str, Any] | type | Callable[..., Any] | BaseTool],
        *,
        tool_choice: str | dict[str, Any] | bool | None = None,
        **kwargs: Any,
    ) -> Runnable[LanguageModelInput, AIMessage]:
        """The model with tools that it may call: each turn is a draw, and votes compare names and arguments."""
        offered: dict[str, Any] = {"tools": [convert_to_openai_tool(tool) for tool in tools]}
        if tool_choice is not None:
            offered["tool_choice"] = _choice(tool_choice)
        return self.bind(**offered, **{name: kwargs[name] for name in kwargs if name not in _OF_LANGCHAIN})

    def _request(self, stop: list[str] | None, given: Mapping[str, Any]) -> dict[str, Any] | None:
        """The fields that a call adds to its request; None where it adds none."""
        request = {name: value for name, value in given.items() if name not in _OF_LANGCHAIN}
        request |= {"stop": stop} if stop else {}
        if odd := next((name for name in request if name not in REQUEST_FIELDS), None):
            raise ConfigError(f"step {self.step!r}: declare {odd} in the subtask's Sampling, not in the call")
        return request or None

    def _plain(self, messages: list[BaseMessage]) -> list[Message]:
        rows = convert_to_openai_messages(messages, text_format="string")
        return [plain_message(self.step, row) for row in rows if isinstance(row, dict)]


def step_model(name: str) -> StepModel:
    """The chat model of a step.

    Examples:
        >>> from agenttts.adapters.langgraph import step_model
        >>> async def ask(example, steps):  # or a LangGraph graph whose nodes call this model
        ...     return (await step_model("answer").ainvoke(example["question"])).content
        >>> subtask, metric = at.Subtask("answer", (small, large)), at.metrics.exact_match("gold")
        >>> environment = at.LiveEnvironment(at.Pipeline("mine", (subtask,), metric, run=ask), rows, client=client)
        >>> asyncio.run(environment.evaluate(at.Allocation({"answer": ("large", 3)}))).score
        1.0

    Args:
        name: Name of the subtask, whose model and samples the allocation decides.
    """
    return StepModel(step=name)


def _choice(given: str | dict[str, Any] | bool) -> Any:
    """LangChain's ways to say which tool, as the chat API says it."""
    if given is True or given == "any":
        return "required"
    if isinstance(given, str) and given not in ("auto", "none", "required"):
        return {"type": "function", "function": {"name": given}}
    return given or "none"


def _result(drawn: Drawn) -> ChatResult:
    calls = [{"name": call.name, "args": call.arguments, "id": call.id, "type": "tool_call"} for call in drawn.calls]
    message = AIMessage(content=drawn.message["content"], tool_calls=calls)
    return ChatResult(generations=[ChatGeneration(message=message)])
