"""The prompts of the three stages, in our own words, each with one demonstration of our own making.

The paper's authors show the data set's own example and ask every stage for the whole plan; here a stage is asked for
what it adds.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from agenttts.environments.tasks.taskbench.plans import feeding_links
from agenttts.environments.tasks.taskbench.tools import Tool, ToolGraph
from agenttts.pipeline import SubtaskInput
from agenttts.pipeline.fingerprint import identified

MERGE = (
    "Several candidate replies to the same request follow, drawn independently; some may be wrong. Compare them part "
    "by part, keep what is right and needed, drop what is not, and reply with one JSON object in the form that the "
    "request asks for and nothing else."
)


Demonstration = tuple[dict[str, Any], ...]
"""The request, and what each of the three stages replies to it."""


def _demonstration(
    request: str, steps: list[str], calls: list[tuple[str, list[Any]]], *, temporal: bool
) -> Demonstration:
    nodes = [{"task": tool, "arguments": arguments} for tool, arguments in calls]
    order = zip(calls, calls[1:], strict=False)
    links = [{"source": a, "target": b} for (a, _), (b, _) in order] if temporal else feeding_links(nodes)
    return (
        {"request": request},
        {"task_steps": [f"Step {number}: {step}" for number, step in enumerate(steps, start=1)]},
        {"task_nodes": [{"task": tool} for tool, _ in calls], "task_links": links},
        {"task_nodes": nodes},
    )


def _named(**values: str) -> list[dict[str, str]]:
    return [{"name": name, "value": value} for name, value in values.items()]


_DEMONSTRATIONS = (
    _demonstration(
        "Wake me at 06:45, check whether it rains in Bergen on 2024-03-02, and text 555-0142 that I am on my way.",
        [
            "Call set_alarm API with time: '06:45'",
            "Call get_weather API with location: 'Bergen' and date: '2024-03-02'",
            "Call send_sms API with phone_number: '555-0142' and content: 'I am on my way'",
        ],
        [
            ("set_alarm", _named(time="06:45")),
            ("get_weather", _named(location="Bergen", date="2024-03-02")),
            ("send_sms", _named(phone_number="555-0142", content="I am on my way")),
        ],
        temporal=True,
    ),
    _demonstration(
        "Take the sound of lecture.mp4, write down what is said, and boil it down to a few sentences.",
        [
            "Extract the audio track from the video file",
            "Transcribe the audio into text",
            "Summarize the transcribed text",
        ],
        [("Video-to-Audio", ["lecture.mp4"]), ("Audio-to-Text", ["<node-0>"]), ("Text Summarizer", ["<node-1>"])],
        temporal=False,
    ),
    _demonstration(
        "My voice note memo.flac is in Danish: put it in English and read it out to me.",
        [
            "Transcribe the audio file into text",
            "Translate the transcribed text into English",
            "Generate speech from the translated text",
        ],
        [
            ("Automatic Speech Recognition", ["memo.flac"]),
            ("Translation", ["<node-0>"]),
            ("Text-to-Speech", ["<node-1>"]),
        ],
        temporal=False,
    ),
)


@identified("tasks.taskbench.decomposition", version=1)
def decomposition(graph: ToolGraph, given: SubtaskInput) -> str:
    """Request -> steps."""
    task = (
        "Break the user's request into steps, in the order of execution. Each step is one sentence for one use of one "
        "of these tools."
    )
    return _prompt(graph, task, '{"task_steps": ["Step 1: ...", "Step 2: ..."]}', given)


@identified("tasks.taskbench.tool_selection", version=1)
def tool_selection(graph: ToolGraph, given: SubtaskInput) -> str:
    """Request and steps -> tools."""
    order = "the one that follows it" if graph.temporal else "each tool that takes its output"
    task = f"Choose the tool of each step, by its exact name from the list, and link every tool to {order}."
    shape = '{"task_nodes": [{"task": "tool"}], "task_links": [{"source": "tool", "target": "tool"}]}'
    return _prompt(graph, task, shape, given, "decomposition")


@identified("tasks.taskbench.parameter_prediction", version=1)
def parameter_prediction(graph: ToolGraph, given: SubtaskInput) -> str:
    """Request, steps and tools -> arguments."""
    if graph.temporal:
        how = "each parameter by its name, with its value as the request gives it."
        arguments = '{"name": "parameter", "value": "text"}'
    else:
        how = "a text or file of the request, or <node-j> for the output of node j of the list, counted from 0."
        arguments = '"text", "<node-0>"'
    task = f"Fill in the arguments of every chosen tool: {how} Keep the tools and their order."
    shape = f'{{"task_nodes": [{{"task": "tool", "arguments": [{arguments}]}}]}}'
    return _prompt(graph, task, shape, given, "decomposition", "tool_selection")


def _prompt(graph: ToolGraph, task: str, shape: str, given: SubtaskInput, *before: str) -> str:
    """The prompt of a stage, `before` being those before it."""
    tools = "\n".join(_line(tool) for tool in graph.tools)
    parts = [f"Tools:\n{tools}", f"{task} Reply with one JSON object of this form and nothing else:\n{shape}"]
    for shown in _DEMONSTRATIONS:  # at most one fits, and none does where the tools are the user's own
        if {node["task"] for node in shown[-1]["task_nodes"]} <= set(graph.names):
            *known, reply = shown[: len(before) + 2]
            parts.append(f"Example:\n{_shown(*known)}\nReply: {json.dumps(reply)}")
    asked = _shown({"request": given.example["request"]}, *(given.inputs[stage] for stage in before))
    return "\n\n".join([*parts, f"Now this one:\n{asked}\nReply:"])


def _line(tool: Tool) -> str:
    gives = f"; gives: {', '.join(tool.gives)}" if tool.gives else ""
    return f"- {tool.name}: {tool.description} (takes: {', '.join(tool.takes) or 'nothing'}{gives})"


def _shown(*parts: Mapping[str, Any]) -> str:
    fields = {name: value for part in parts for name, value in part.items()}
    texts = {name: value if isinstance(value, str) else json.dumps(value) for name, value in fields.items()}
    return "\n".join(f"{name}: {text}" for name, text in texts.items())
