"""The folders of the package form layers: a folder imports only from those below it, computed from the imports."""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "agenttts"


def _folder(module: tuple[str, ...]) -> str:
    """The folder of a module, named below the package; of the two modules that lie flat, the module itself."""
    path = PACKAGE.joinpath(*module)
    inside = module if path.is_dir() else module[:-1] or module
    depth = 2 if inside[:1] == ("report",) else 1
    return "/".join(inside[:depth])


def _is_file(module: tuple[str, ...]) -> bool:
    return PACKAGE.joinpath(*module).with_suffix(".py").is_file()


def _imports(file: Path) -> Iterator[tuple[str, ...]]:
    """The modules of the package that a file imports, also those within functions and for types alone."""
    for node in ast.walk(ast.parse(file.read_text())):
        names = [f"{node.module}.{alias.name}" for alias in node.names] if isinstance(node, ast.ImportFrom) else []
        names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        for name in names:
            parts = tuple(name.split("."))[1:]
            while parts and not (_is_file(parts) or PACKAGE.joinpath(*parts).is_dir()):
                parts = parts[:-1]  # a name within a module
            if name.startswith("agenttts.") and parts:
                yield parts


def _arrows() -> dict[str, set[str]]:
    """Folder -> the folders that it imports from."""
    found: defaultdict[str, set[str]] = defaultdict(set)
    for file in PACKAGE.rglob("*.py"):
        module = file.relative_to(PACKAGE).with_suffix("").parts
        if module == ("__init__",):  # the names of `import agenttts`, from everywhere
            continue
        here = _folder(module[:-1] if module[-1] == "__init__" else module)
        found[here] |= {_folder(other) for other in _imports(file)} - {here}
    return dict(found)


def test_no_two_folders_import_from_one_another_however_many_lie_between() -> None:
    arrows = _arrows()
    order = list(TopologicalSorter(arrows).static_order())  # raises CycleError, which names the circle
    assert order.index("cli") == len(order) - 1 and {"errors", "_util"} <= set(order[:2])


def test_the_rules_behind_the_layers() -> None:
    arrows = _arrows()

    def below(folder: str) -> set[str]:
        found = set(arrows.get(folder, ()))
        return found.union(*map(below, found)) if found else found

    assert "db" not in below("llm")  # who asks a model knows no SQL
    assert "deployment" not in below("environments")  # scoring knows no deployment
    proposing = {"agent", "baselines"}
    assert not any(proposing & others for folder, others in arrows.items() if folder.startswith("report"))
    assert not proposing & below("environments")  # what scores and what proposes know nothing of one another
    assert not any({"environments", *proposing} & below(folder) for folder in proposing)


def test_two_modules_lie_flat_and_every_folder_has_a_line_for_contributors() -> None:
    assert {path.name for path in PACKAGE.glob("*.py")} == {"__init__.py", "errors.py", "protocols.py"}
    folders = {path.name for path in PACKAGE.iterdir() if path.is_dir() and path.name != "__pycache__"}
    described = set(re.findall(r"^\| `(\w+)/`", (ROOT / "CONTRIBUTING.md").read_text(), re.M))
    assert described == folders


def test_tests_mirror_the_folders() -> None:
    folders = {path.name for path in PACKAGE.iterdir() if path.is_dir() and path.name != "__pycache__"}
    tested = {path.name for path in (ROOT / "tests").iterdir() if path.is_dir() and path.name != "__pycache__"}
    assert tested - {"data", "faults"} <= folders
