"""LangGraph, and whatever else calls LangChain chat models: `step_model(NAME)` is a chat model. See the package."""

from __future__ import annotations

from typing import Any

from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage, convert_to_openai_messages
from langchain_core.outputs import ChatGeneration, ChatResult

from agenttts.errors import ConfigError
from agenttts.execution.run import current_step
from agenttts.pipeline import Message
from agenttts.pipeline.fingerprint import identified


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
        return _result(await current_step(self.step).reply(self._plain(messages, stop)))

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        step = current_step(self.step)
        return _result(step.wait(step.reply(self._plain(messages, stop))))

    def _plain(self, messages: list[BaseMessage], stop: list[str] | None) -> list[Message]:
        if stop:
            raise ConfigError(f"step {self.step!r}: declare stop texts in the subtask's Sampling, not in the call")
        rows = convert_to_openai_messages(messages, text_format="string")
        plain = [{"role": row["role"], "content": row["content"]} for row in rows if isinstance(row, dict)]
        if any(not isinstance(row["content"], str) for row in plain):
            raise ConfigError(f"step {self.step!r}: a message holds more than text, which a step cannot send")
        return plain


def step_model(name: str) -> StepModel:
    """The chat model of a step.

    Examples:
        >>> from agenttts.adapters.langgraph import step_model
        >>> async def ask(example, steps):  # or a LangGraph graph whose nodes call this model
        ...     return (await step_model("answer").ainvoke(example["question"])).content
        >>> asked = at.Pipeline("mine", [at.Subtask("answer", [small, large])], at.metrics.exact_match("gold"), run=ask)
        >>> environment = at.LiveEnvironment(asked, rows, client=client)
        >>> asyncio.run(environment.evaluate(at.Allocation({"answer": ("large", 3)}))).score
        1.0

    Args:
        name: Name of the subtask, whose model and samples the allocation decides.
    """
    return StepModel(step=name)


def _result(text: str) -> ChatResult:
    return ChatResult(generations=[ChatGeneration(message=AIMessage(content=text))])
