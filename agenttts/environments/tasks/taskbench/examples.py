"""TaskBench's labelled requests as published: `data.json` (JSON Lines or an array) beside the two tool files.

Both generations of field names are read, and lists that are kept as JSON inside a text:

    2023    user_request    task_steps    task_nodes    task_links
    2024    instruction     tool_steps    tool_nodes    tool_links

`<node-j>` counts from 0 in the first and from 1 in the second; which it is shows in the file (see `_first_node`).
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from agenttts._util.checks import TEXT, Kind
from agenttts._util.hints import install
from agenttts.environments.tasks.rows import FULL_TEXT, TEXT_LIST, Row, read_rows
from agenttts.environments.tasks.taskbench.plans import REFERENCE, Link, Node
from agenttts.environments.tasks.taskbench.tools import ToolGraph
from agenttts.errors import ConfigError
from agenttts.pipeline import Example

TASK = "taskbench"
DOMAINS = ("dailylifeapis", "multimedia", "huggingface")
_DATA_FILES = ("data.json", "data.jsonl")
_HUB_ID = re.compile(r"([\w.-]+/[\w.-]+)(?::(\w+))?")
_NODES, _LINKS = TypeAdapter(list[Node]), TypeAdapter(list[Link])
_PRESENT = Kind("a list", lambda value: isinstance(value, list | str))


def find_data(data: str | None) -> Path:
    """The file of labelled requests.

    Args:
        data: It, its folder, or a Hub id with a domain, such as `microsoft/Taskbench:multimedia`.

    Raises:
        ConfigError: When there is none.
    """
    if not data:
        raise ConfigError(
            f"environment {TASK!r} brings no examples: give --data, the folder of a domain with data.json, "
            "tool_desc.json and graph_desc.json, or a Hub id"
        )
    path = Path(data).expanduser()
    hub = _HUB_ID.fullmatch(data)
    if not path.exists() and hub and path.suffix not in (".json", ".jsonl"):
        path = _download(hub[1], hub[2] or DOMAINS[0])
    if not path.exists():
        raise ConfigError(f"environment {TASK!r}: there is no file or folder {str(path)!r}")
    if not path.is_dir():
        return path
    for name in _DATA_FILES:
        if (path / name).is_file():
            return path / name
    raise ConfigError(f"{str(path)!r} holds no data.json: give the folder of one domain, such as data_{DOMAINS[0]}")


def _download(name: str, domain: str) -> Path:
    if domain not in DOMAINS:
        raise ConfigError(f"TaskBench has no domain {domain!r}; it has {', '.join(DOMAINS)}")
    try:
        from huggingface_hub import snapshot_download
    except ImportError as error:
        raise ConfigError(f"{name!r} is no file; to load it from the Hub: {install('tasks')}") from error
    try:
        folder = snapshot_download(name, repo_type="dataset", allow_patterns=f"data_{domain}/*.json")
    except Exception as error:  # the library raises whatever its many parts raise
        reason = " ".join(str(error).split())[:200]
        raise ConfigError(f"{name!r} is no file, and cannot be loaded from the Hub: {reason}") from error
    return Path(folder) / f"data_{domain}"


def read_examples(path: Path, graph: ToolGraph) -> list[Example]:
    """The examples of a file.

    Raises:
        ConfigError: On a malformed example, or a tool that the graph does not have.
    """
    rows = read_rows(str(path), task=TASK)
    examples = [_example(row, number, graph) for number, row in enumerate(rows, start=1)]
    first = _first_node(examples)
    for example in examples:
        for node in example["nodes"]:
            node["arguments"] = [_from_zero(argument, first) for argument in node["arguments"]]
    return list(examples)


def _example(row: Row, number: int, graph: ToolGraph) -> dict[str, Any]:
    nodes_field, links_field = _named(row, "task_nodes", "tool_nodes"), _named(row, "task_links", "tool_links")
    nodes, links = _validated(row, nodes_field, _NODES), _validated(row, links_field, _LINKS)
    if not nodes:
        raise row.error(nodes_field, "is empty")
    used = {nodes_field: [node["task"] for node in nodes]}
    used[links_field] = [link[end] for link in links for end in ("source", "target")]
    for field, tools in used.items():
        for tool in tools:
            if tool not in graph.names:
                raise row.error(field, f"names the tool {tool!r}, which is not in the tool graph")
    return {
        "id": str(row.fields.get("id", number)),
        "request": row.get(_named(row, "user_request", "instruction"), FULL_TEXT),
        "steps": _steps(row),
        "nodes": nodes,
        "links": links,
    }


def _named(row: Row, *fields: str) -> str:
    """The first of these fields that the row has; the first of all, to be missed by name, where it has none."""
    return next((field for field in fields if field in row.fields), fields[0])


def _steps(row: Row) -> list[str]:
    field = _named(row, "task_steps", "tool_steps")
    decoded = Row(row.where, {**row.fields, field: _decoded(row, field)})
    steps: list[str] = decoded.get(field, TEXT_LIST)
    return steps


def _validated(row: Row, field: str, schema: TypeAdapter[Any]) -> list[dict[str, Any]]:
    value = _decoded(row, field)
    try:
        found: list[dict[str, Any]] = schema.dump_python(schema.validate_python(value), mode="json")
    except ValidationError as error:
        first = error.errors(include_input=False)[0]
        place = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in first["loc"])
        raise row.error(field + place, f"is wrong: {first['msg']}") from error
    return found


def _decoded(row: Row, field: str) -> Any:
    value = row.get(field, _PRESENT, filled=False)
    if not TEXT.holds(value):
        return value
    try:
        return json.loads(value)
    except json.JSONDecodeError as error:
        raise row.error(field, f"holds a text that is not JSON ({error.msg})") from error


def _first_node(examples: Sequence[Example]) -> int:
    """From where `<node-j>` counts, 0 or 1: by which fewer references are to no node, or to the node they are in."""
    references = [
        (int(match[1]), place, len(example["nodes"]))
        for example in examples
        for place, node in enumerate(example["nodes"])
        for argument in node["arguments"]
        for match in REFERENCE.finditer(str(argument))
    ]
    wrong = [sum(not 0 <= j - first < n or j - first == place for j, place, n in references) for first in (0, 1)]
    return int(wrong[1] < wrong[0])


def _from_zero(argument: Any, first: int) -> Any:
    if not isinstance(argument, str):
        return argument
    return REFERENCE.sub(lambda match: f"<node-{int(match[1]) - first}>", argument)
