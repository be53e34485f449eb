"""The notebooks run, and what they print and show is what is saved in them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.notebooks import FOLDER, PLOTLY, run_cell

NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))
LONG = ("04_compare_methods", "05_scaling_curves")
"""Those that take minutes."""


@pytest.mark.parametrize(
    "path",
    [pytest.param(path, id=path.stem, marks=[pytest.mark.slow] * (path.stem in LONG)) for path in NOTEBOOKS],
)
async def test_a_notebook_runs_and_its_saved_outputs_match(path: Path) -> None:
    cells = [cell for cell in json.loads(path.read_text("utf-8"))["cells"] if cell["cell_type"] == "code"]
    names: dict[str, Any] = {}
    for number, cell in enumerate(cells, start=1):
        outputs = await run_cell("".join(cell["source"]), names)
        assert cell["execution_count"] == number
        assert [_comparable(output) for output in outputs] == [_comparable(output) for output in cell["outputs"]]
    assert any(cell["outputs"] for cell in cells)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=[path.stem for path in NOTEBOOKS])
def test_a_figure_has_its_picture_beside_it(path: Path) -> None:
    cells = json.loads(path.read_text("utf-8"))["cells"]
    shown = [output["data"] for cell in cells for output in cell.get("outputs", []) if "data" in output]
    assert all(("image/png" in data) == (PLOTLY in data) for data in shown)
    assert path.stat().st_size < 1_000_000


def _comparable(output: dict[str, Any]) -> Any:
    """The words of an output, which versions of pandas space out otherwise; of a figure its numbers.

    To three digits: more may depend on the processor.
    """
    if "data" not in output:
        return "".join(output["text"])
    if PLOTLY not in output["data"]:
        return {kind: "".join(text).split() for kind, text in output["data"].items()}
    return _rounded(output["data"][PLOTLY])


def _rounded(data: Any) -> Any:
    if isinstance(data, dict):
        return {key: _rounded(value) for key, value in data.items()}
    if isinstance(data, list):
        return [_rounded(value) for value in data]
    return float(f"{data:.3g}") if isinstance(data, float) else data
