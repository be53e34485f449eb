"""The virtual models of TaskBench: plans of which every part is right or wrong by a skill, a difficulty and luck.

    decomposition          each gold step is given or left vague
    tool_selection         each gold tool is chosen, or another one in its place; skill falls with the steps left vague
    parameter_prediction   under a right tool, each argument is the gold one or nearly so; under a wrong one, none is
    merging                part by part, by how many candidates agree, a right part more readily (`voting`)

What is published are six configurations with the argument F1 of the whole pipeline (paper's table 1 and the authors'
comments on their runs, 500 requests of a domain that they do not name). The target made of them, and what the
simulation gives on 300 requests, whose standard error is 0.02; `pytest -s tests/simulation/test_calibration.py`
measures the last column. A number behind x is samples; stages in order.

    decomposition   tool selection   parameters   published    target   simulated
    8B  x10         8B  x1           8B  x1       .431  .40    .415     .410
    8B  x1          8B  x50          8B  x1       .49          .49      .487
    8B  x1          8B  x50          70B x1       .49          .49      .503
    8B  x1          70B x2           70B x1       .52          .52      .500
    70B x4          8B  x20          70B x1       .527  .53    .53      .517
    8B  x20         70B x3           70B x1       .53          .53      .545

Assumed: how the loss is shared out between wrong tools and wrong arguments (nothing is published of the stages), that
the size hardly matters for arguments (the second and third row), and that samples matter most for tool selection.
Nothing here was measured on a model.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from agenttts.environments.tasks.taskbench.prompts import MERGE
from agenttts.pipeline import Example
from agenttts.simulation.answerer import Request, UnknownPrompt
from agenttts.simulation.chance import choice, deviate, shuffled, uniform
from agenttts.simulation.skill import FULL_LUCK, Ability, decades
from agenttts.simulation.voting import confused, weighed

_STEP, _STEP_LUCK = Ability(0.70, 0.30), 0.8
_TOOL, _TOOL_LUCK = Ability(0.50, 0.60), 1.1
_VAGUE = 0.6
"""What tool selection loses when no step is given."""
_ARGUMENT, _ARGUMENT_LUCK = Ability(0.25, 0.01), 0.15
_WRONG = 4
"""Wrong tools that are taken for one gold tool, the first of them half the time."""
_TEMPTED = 0.5
_FORMLESS = 0.03
"""Share of a 3B model's replies that are no JSON; a tenth of it for ten times the parameters."""

_ASKED = re.compile(
    r"request: (?P<request>.*?)(?:\ntask_steps: (?P<steps>[^\n]*))?"
    r"(?:\ntask_nodes: (?P<nodes>[^\n]*)\ntask_links: [^\n]*)?\nReply:\Z",
    re.DOTALL,
)
_TOOLS = re.compile(r"^- (.+?): .*\(takes: ", re.MULTILINE)
_CANDIDATE = re.compile(r"^\[\d+\] (\{.*\})$", re.MULTILINE)


@dataclass(frozen=True)
class _Asked:
    """What one prompt asks for."""

    request: Request
    example: Example
    tools: Sequence[str]
    steps: Sequence[str] | None
    """Those shown; None in the first stage."""
    nodes: Sequence[Mapping[str, Any]] | None
    """Those shown; None before the third stage."""

    def stands(self, skill: float, luck: float, *part: object) -> bool:
        """Whether a part is right: its difficulty is the request's, its luck the sample's."""
        lucky = luck * self.request.temperature / FULL_LUCK
        difficulty = deviate(self.example["request"], *part)
        return skill - difficulty + lucky * deviate(*self.key, *part) > 0

    @property
    def key(self) -> tuple[object, ...]:
        """What fixes the luck of this sample."""
        return self.example["request"], self.request.model.name, self.request.seed


class TaskbenchAnswerer:
    """Plays every model of TaskBench.

    Args:
        task: Its name.
        examples: All of its examples.
    """

    def __init__(self, task: str, examples: Iterable[Example]) -> None:
        self._examples = {example["request"]: example for example in examples}

    def reply(self, request: Request) -> str:
        """See `answerer.Answerer.reply`."""
        prompt, _, candidates = request.prompt.partition("\n\nCandidates:\n")
        asked = self._asked(request, prompt)
        if request.messages[0]["content"] == MERGE:
            return _merged(asked, [json.loads(text) for text in _CANDIDATE.findall(candidates)])
        plan = _plan(asked)
        if uniform(*asked.key, "form") < _FORMLESS * 10 ** -decades(request.model):
            return f"The plan has these parts: {', '.join(plan)}."
        return json.dumps(plan)

    def _asked(self, request: Request, prompt: str) -> _Asked:
        tools, _, now = prompt.rpartition("Now this one:\n")
        found = _ASKED.match(now)
        if not found:
            raise UnknownPrompt("the simulation knows none of its task's prompts in this request")
        if found["request"] not in self._examples:
            raise UnknownPrompt(f"the simulation has no example with the request {found['request'][:80]!r}")
        steps, nodes = (None if found[part] is None else json.loads(found[part]) for part in ("steps", "nodes"))
        return _Asked(request, self._examples[found["request"]], _TOOLS.findall(tools), steps, nodes)


def _plan(asked: _Asked) -> dict[str, Any]:
    if asked.steps is None:
        return {"task_steps": _steps(asked)}
    if asked.nodes is None:
        return _tools(asked)
    return {"task_nodes": _arguments(asked, asked.nodes)}


def _steps(asked: _Asked) -> list[str]:
    skill = _STEP.of(asked.request.model)
    return [
        step if asked.stands(skill, _STEP_LUCK, "step", place) else f"Step {place + 1}: Do the next part of the request"
        for place, step in enumerate(asked.example["steps"])
    ]


def _tools(asked: _Asked) -> dict[str, Any]:
    gold = asked.example["nodes"]
    given = len({*asked.example["steps"]} & {*(asked.steps or ())}) / max(len(asked.example["steps"]), 1)
    skill = _TOOL.of(asked.request.model) - _VAGUE * (1 - given)
    chosen = [
        node["task"] if asked.stands(skill, _TOOL_LUCK, "tool", place) else _wrong_tool(asked, place)
        for place, node in enumerate(gold)
    ]
    names = dict(zip([node["task"] for node in gold], chosen, strict=True))
    links = [{end: names.get(link[end], link[end]) for end in ("source", "target")} for link in asked.example["links"]]
    return {"task_nodes": [{"task": tool} for tool in chosen], "task_links": links}


def _wrong_tool(asked: _Asked, place: int) -> str:
    """Half the time the one that tempts every model."""
    used = {node["task"] for node in asked.example["nodes"]}
    others = [tool for tool in asked.tools if tool not in used] or list(asked.tools)
    tempting = shuffled(others, asked.example["request"], "tempting", place)[:_WRONG]
    tempted = uniform(*asked.key, "tempted", place) < _TEMPTED
    return tempting[0] if tempted else choice(tempting, *asked.key, "wrong tool", place)


def _arguments(asked: _Asked, nodes: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    skill = _ARGUMENT.of(asked.request.model)
    filled = []
    for place, (node, gold) in enumerate(zip(nodes, _gold_arguments(asked, nodes), strict=True)):
        arguments = [
            argument
            if asked.stands(skill, _ARGUMENT_LUCK, "argument", node["task"], place, number)
            else _nearly(argument, choice(_SLIPS, *asked.key, "slip", place, number))
            for number, argument in enumerate(gold)
        ]
        filled.append({"task": node["task"], "arguments": arguments})
    return filled


def _gold_arguments(asked: _Asked, nodes: Sequence[Mapping[str, Any]]) -> list[list[Any]]:
    """The gold arguments of each chosen tool; of one that is not needed (so often), none of which can be right."""
    left = list(asked.example["nodes"])
    found = []
    for node in nodes:
        gold = next((each for each in left if each["task"] == node["task"]), None)
        if gold is not None:
            left.remove(gold)
        found.append(list(gold["arguments"]) if gold else [" ".join(asked.example["request"].split()[:4])])
    return found


_SLIPS: Sequence[Callable[[str], str]] = (
    lambda text: f"the {text}",
    lambda text: f"{text}, please",
    lambda text: text.split(" ")[0] + "...",
)


def _nearly(argument: Any, slip: Callable[[str], str]) -> Any:
    if isinstance(argument, dict) and "name" in argument:
        return {**argument, "value": slip(str(argument.get("value", "")))}
    return slip(argument if isinstance(argument, str) else json.dumps(argument))


def _merged(asked: _Asked, candidates: Sequence[Mapping[str, Any]]) -> str:
    if not candidates:
        raise UnknownPrompt("the simulation finds no candidate plans in this request for merging")
    if confused(asked.request.model, len(candidates), *asked.key, "merge"):
        return json.dumps(choice(candidates, *asked.key, "merge"))
    if asked.steps is None:
        gold = set(asked.example["steps"])
        return json.dumps({"task_steps": _voted(asked, [c["task_steps"] for c in candidates], gold.__contains__)})
    if asked.nodes is None:
        needed = {node["task"] for node in asked.example["nodes"]}
        tools = _voted(asked, [[node["task"] for node in c["task_nodes"]] for c in candidates], needed.__contains__)
        links = _voted(asked, [[json.dumps(c["task_links"])] for c in candidates], lambda _: False)
        return json.dumps({"task_nodes": [{"task": tool} for tool in tools], "task_links": json.loads(links[0])})
    return json.dumps({"task_nodes": _merged_arguments(asked, [c["task_nodes"] for c in candidates], asked.nodes)})


def _merged_arguments(
    asked: _Asked, candidates: Sequence[Sequence[Mapping[str, Any]]], nodes: Sequence[Mapping[str, Any]]
) -> list[dict[str, Any]]:
    merged = []
    for place, (node, gold) in enumerate(zip(nodes, _gold_arguments(asked, nodes), strict=True)):
        right = {json.dumps(argument) for argument in gold}
        texts = [[json.dumps(argument) for argument in candidate[place]["arguments"]] for candidate in candidates]
        voted = _voted(asked, texts, right.__contains__, place)
        merged.append({"task": node["task"], "arguments": [json.loads(text) for text in voted]})
    return merged


def _voted(
    asked: _Asked, candidates: Sequence[Sequence[str]], is_right: Callable[[str], bool], *key: object
) -> list[str]:
    """Place by place, what most candidates have there."""
    places = range(max(map(len, candidates)))
    texts = [[candidate[place] for candidate in candidates if place < len(candidate)] for place in places]
    return [weighed(each, is_right, uniform(*asked.key, "vote", *key, place)) for place, each in enumerate(texts)]
