"""The tools that a domain's plans are made of: `tool_desc.json` and `graph_desc.json` as published.

temporal    daily-life APIs: named parameters, and links that say what comes first
resource    multimedia and Hugging Face tools: what a tool returns is what the next one takes
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agenttts._util.strict_json import read_data
from agenttts.environments.examples import read_text
from agenttts.errors import ConfigError
from agenttts.pipeline.fingerprint import identified


@identified("tasks.taskbench.tool", version=1)
@dataclass(frozen=True)
class Tool:
    """One tool, as prompts show it."""

    name: str
    description: str
    takes: tuple[str, ...]
    """Names of its parameters, or types of its inputs."""
    gives: tuple[str, ...] = ()
    """Types of its outputs; none for tools with named parameters."""


@identified("tasks.taskbench.tool_graph", version=1)
@dataclass(frozen=True)
class ToolGraph:
    """The tools of one domain."""

    tools: tuple[Tool, ...]
    temporal: bool
    """Whether parameters are named and links give the order; else outputs feed inputs."""

    @classmethod
    def load(cls, folder: Path) -> ToolGraph:
        """Read `tool_desc.json`, and make sure that `graph_desc.json` has the same tools.

        Raises:
            ConfigError: When one is missing or malformed, or they disagree.
        """
        described = _nodes(folder / "tool_desc.json")
        try:
            temporal = all("parameters" in node for node in described)
            tools = tuple(_tool(node, temporal) for node in described)
        except (KeyError, TypeError) as error:
            raise ConfigError(f"{folder / 'tool_desc.json'}: a tool lacks a field: {error}") from error
        graph = {node.get("id") for node in _nodes(folder / "graph_desc.json")}
        if odd := sorted(map(str, graph ^ {tool.name for tool in tools})):
            raise ConfigError(f"{folder}: tool {odd[0]!r} is in one of tool_desc.json and graph_desc.json alone")
        return cls(tools, temporal)

    @property
    def names(self) -> Collection[str]:
        """Names of the tools."""
        return {tool.name: None for tool in self.tools}.keys()


def _nodes(path: Path) -> list[dict[str, Any]]:
    if not path.is_file():
        raise ConfigError(f"there is no {str(path)!r}: TaskBench publishes a domain's tools beside its requests")
    try:
        nodes = read_data(read_text(path))["nodes"]
    except (ValueError, KeyError, TypeError) as error:
        raise ConfigError(f'{path} is not a tool file: it must be {{"nodes": [...]}}') from error
    if not isinstance(nodes, list) or not nodes or not all(isinstance(node, dict) for node in nodes):
        raise ConfigError(f"{path}: field 'nodes' must be a list of tools")
    return nodes


def _tool(node: dict[str, Any], temporal: bool) -> Tool:
    takes = [parameter["name"] for parameter in node["parameters"]] if temporal else node["input-type"]
    return Tool(node["id"], node["desc"], tuple(takes), () if temporal else tuple(node["output-type"]))
