"""A room imports only from its own floor and from those below: the table of CONTRIBUTING.md."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parent.parent
_ROW = re.compile(r"^\| (\d) \| (.*?) \|", re.M)
_ROOM = re.compile(r"`(?:agenttts/)?(\w+)(?:/|\.py)`")
FLOORS = {
    room: int(number)
    for number, rooms in _ROW.findall((ROOT / "CONTRIBUTING.md").read_text())
    for room in _ROOM.findall(rooms)
}
"""Room -> floor; those that the table leaves out ("...") are on the first."""


def _imports() -> Iterator[tuple[str, str]]:
    """(room, room that it imports from), imports inside of functions and for types included."""
    for file in (ROOT / "agenttts").rglob("*.py"):
        room = file.relative_to(ROOT / "agenttts").with_suffix("").parts[0]
        for node in ast.walk(ast.parse(file.read_text())):
            names = [f"{node.module}.{alias.name}" for alias in node.names] if isinstance(node, ast.ImportFrom) else []
            names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            for name in names:
                package, _, inside = name.partition(".")
                if package == "agenttts" and inside and room != "__init__":
                    yield room, inside.split(".")[0]


def test_no_room_imports_from_a_floor_above() -> None:
    found = set(_imports())
    assert ("cli", "report") in found and FLOORS["cli"] == 5
    assert not [(room, other) for room, other in found if FLOORS.get(other, 1) > FLOORS.get(room, 1)]


def test_what_proposes_and_what_scores_do_not_know_one_another() -> None:
    third = {room for room, floor in FLOORS.items() if floor == 3}
    assert third == {"agent", "baselines", "environments"}
    assert not [(room, other) for room, other in _imports() if room in third and other in third - {room}]


def test_every_room_of_the_table_is_there() -> None:
    rooms = {path.stem for path in (ROOT / "agenttts").iterdir()}
    assert rooms >= FLOORS.keys()
