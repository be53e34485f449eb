"""Runs the notebooks as Jupyter would, without a kernel. `python -m tests.notebooks` saves what they print and show.

A figure is saved as plotly's data, which a notebook draws alive and the test compares, and as a PNG beside it, which
GitHub shows. Only saving takes PNGs, and so kaleido with a Chrome or Chromium: pip install kaleido.
"""

from __future__ import annotations

import ast
import asyncio
import base64
import inspect
import io
import json
import sys
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent.parent / "notebooks"
PLOTLY = "application/vnd.plotly.v1+json"
Output = dict[str, Any]


async def run_cell(source: str, names: dict[str, Any]) -> list[Output]:
    """Execute a cell, top-level await included: what it prints, then the value of a last expression."""
    body = ast.parse(source).body
    last = body[-1] if body and isinstance(body[-1], ast.Expr) else None
    body = body if last is None else body[:-1]
    printed = io.StringIO()
    with redirect_stdout(printed):
        await _evaluate(ast.Module(body, []), "exec", names)
        value = None if last is None else await _evaluate(ast.Expression(last.value), "eval", names)
    stream = {"name": "stdout", "output_type": "stream", "text": printed.getvalue().splitlines(keepends=True)}
    shown = {"data": _data(value), "metadata": {}, "output_type": "execute_result"}
    return [stream] * bool(printed.getvalue()) + [shown] * (value is not None)


async def _evaluate(tree: ast.Module | ast.Expression, mode: str, names: dict[str, Any]) -> Any:
    value = eval(compile(tree, "cell", mode, flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT), names)  # our own notebooks
    return await value if inspect.iscoroutine(value) else value


def _data(value: Any) -> dict[str, Any]:
    if type(value).__module__.startswith("plotly."):
        return {PLOTLY: json.loads(value.to_json())}
    html = {"text/html": value._repr_html_().splitlines(keepends=True)} if hasattr(value, "_repr_html_") else {}
    return {**html, "text/plain": repr(value).splitlines(keepends=True)}


async def rerun(path: Path) -> None:
    """Run a notebook and save its outputs in it, but for the pictures of its figures."""
    notebook, names, count = json.loads(path.read_text("utf-8")), dict[str, Any](), 0
    for cell in notebook["cells"]:
        if cell["cell_type"] == "code":
            count += 1
            outputs = await run_cell("".join(cell["source"]), names)
            for output in outputs:
                if output["output_type"] == "execute_result":
                    output["execution_count"] = count
            cell |= {"execution_count": count, "outputs": outputs}
    _write(path, notebook)


def add_pictures(path: Path) -> None:
    """Save a PNG beside each figure of a notebook."""
    import plotly.io

    notebook = json.loads(path.read_text("utf-8"))
    for cell in notebook["cells"]:
        for output in cell.get("outputs", []):
            if PLOTLY in (data := output.get("data", {})):
                picture = plotly.io.to_image(data[PLOTLY], format="png", width=900)
                data["image/png"] = base64.b64encode(picture).decode()
    _write(path, notebook)


def _write(path: Path, notebook: dict[str, Any]) -> None:
    path.write_text(json.dumps(notebook, indent=1, ensure_ascii=False) + "\n", "utf-8")


if __name__ == "__main__":
    for each in sorted(FOLDER.glob("*.ipynb")):
        if not sys.argv[1:] or each.stem in sys.argv[1:]:
            asyncio.run(rerun(each))
            add_pictures(each)
