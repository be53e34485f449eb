"""What the three stages return, and what the public labels hold: the same JSON, validated by pydantic.

    decomposition           {"task_steps": [text, ...]}
    tool_selection          {"task_nodes": [{"task": tool}, ...], "task_links": [{"source": tool, "target": tool}, ...]}
    parameter_prediction    the same, each node with "arguments": [{"name": ..., "value": ...} or text or "<node-j>"]

`<node-j>` is the output of node j, counted from 0. A stage's output is such an object in plain JSON.
"""

from __future__ import annotations

import re
from typing import Any

from pydantic import BaseModel, Field, JsonValue, ValidationError

from agenttts.errors import ParseError
from agenttts.pipeline import SubtaskInput
from agenttts.pipeline.fingerprint import identified
from agenttts.pipeline.parsers import json_object

REFERENCE = re.compile(r"<node-(\d+)>")


class Argument(BaseModel):
    """A named argument."""

    name: str
    value: JsonValue


class Node(BaseModel):
    """One call of a tool."""

    task: str
    arguments: list[Argument | JsonValue] = []


class Link(BaseModel):
    """One tool before another."""

    source: str
    target: str


class Steps(BaseModel):
    """Reply of the first stage."""

    task_steps: list[str] = Field(min_length=1)


class Plan(BaseModel):
    """Reply of the second and third stage."""

    task_nodes: list[Node] = Field(min_length=1)
    task_links: list[Link] = []


@identified("tasks.taskbench.steps", version=2)
def steps(sample: str, given: SubtaskInput) -> dict[str, Any]:
    """Parse a decomposition."""
    return _valid(Steps, sample, given)


@identified("tasks.taskbench.tools", version=2)
def tools(sample: str, given: SubtaskInput) -> dict[str, Any]:
    """Parse a selection of tools; arguments given too early are left out."""
    plan = _valid(Plan, sample, given)
    return {"task_nodes": [{"task": node["task"]} for node in plan["task_nodes"]], "task_links": plan["task_links"]}


@identified("tasks.taskbench.arguments", version=2)
def arguments(sample: str, given: SubtaskInput) -> dict[str, Any]:
    """Parse a plan with arguments: links are those selected before, or those by which outputs feed inputs."""
    nodes = _valid(Plan, sample, given)["task_nodes"]
    return {"task_nodes": nodes, "task_links": given.inputs["tool_selection"]["task_links"] or feeding_links(nodes)}


def feeding_links(nodes: list[dict[str, Any]]) -> list[dict[str, str]]:
    """The links that `<node-j>` arguments stand for; those to no node are left out."""
    found = [
        (int(match[1]), node["task"])
        for node in nodes
        for argument in node["arguments"]
        for match in REFERENCE.finditer(str(argument))
    ]
    return [{"source": nodes[j]["task"], "target": target} for j, target in found if j < len(nodes)]


def _valid(schema: type[BaseModel], sample: str, given: SubtaskInput) -> dict[str, Any]:
    try:
        return schema.model_validate(json_object(sample, given)).model_dump(mode="json")
    except ValidationError as error:
        first = error.errors(include_input=False)[0]
        raise ParseError(f"{'.'.join(map(str, first['loc']))}: {first['msg']}") from error
