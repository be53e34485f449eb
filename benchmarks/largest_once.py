"""What a search finds at the cost of one model everywhere, once: the README's picture and its table.

    python benchmarks/largest_once.py [--trials 24] [--out FOLDER]

Searches `minihop-recorded` (recorded samples of the real models; nothing runs) under a few budgets at once, with the
rule planner, and compares what is recommended for each with the largest model that fits the same budget when it is
used once in every stage. Both are scored on the 300 held-out examples; the gain is the mean difference on the same
examples, with a 95 % interval by Student's t. With --out, the figures as `largest_once.json` and the picture as
`largest_once.svg`.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

import agenttts as at
from agenttts._util.stats import student_quantile
from agenttts.environments.tasks.minihop import minihop_recorded
from agenttts.space.allocation import Allocation
from agenttts.study.evaluation import Evaluation

BUDGETS = (303.0, 700.0, 1166.0, 3496.0)
"""MFLOP: what minihop-s, -m and -l cost when used once in both stages, and the demo's budget."""
Row = dict[str, Any]


async def measure(trials: int) -> list[Row]:
    """A row for each budget: what was recommended, the baseline, and the paired gain."""
    environment = minihop_recorded()
    space = at.SearchSpace(environment.pipeline, at.cost_model("flops"), BUDGETS[-1])
    result = await at.search(
        environment,
        at.searcher("agent", llm="none"),
        space,
        at.Store(),
        study_name="largest-once",
        limits=at.Limits(trials=trials),
        budgets=BUDGETS,
    )
    assert result.frontier is not None
    once = [Allocation({stage.name: (model.name, 1) for stage in environment.pipeline.subtasks})
            for model in environment.pipeline.models]  # fmt: skip
    rows = []
    for point in result.frontier.points:
        base = max((each for each in once if space.cost(each) <= point.budget), key=space.cost)
        baseline = await environment.evaluate(base, environment.held_out)
        assert point.check is not None
        rows.append(
            {
                "budget": point.budget,
                "recommended": _figures(space, point.trial.allocation, point.check),
                "baseline": _figures(space, base, baseline),
                "gain": _gain(point.check, baseline),
            }
        )
    return rows


def _figures(space: at.SearchSpace, allocation: Allocation, evaluation: Evaluation) -> Row:
    cost, interval = round(space.cost(allocation), 1), evaluation.interval
    return {"allocation": str(allocation), "cost": cost, "score": evaluation.score, "interval": list(interval)}


def _gain(better: Evaluation, base: Evaluation) -> list[float]:
    """The mean paired difference, and the ends of its interval."""
    known = {result.example: result.score for result in base.results}
    differences = np.array([result.score - known[result.example] for result in better.results])
    mean, half = differences.mean(), differences.std(ddof=1) / math.sqrt(len(differences))
    half *= student_quantile(len(differences) - 1)
    return [float(mean), float(mean - half), float(mean + half)]


def table(rows: Sequence[Row]) -> str:
    """The rows, as they are printed."""
    lines = [f"{'MFLOP':>5}  {'recommended':<45}  held-out  {'one model, once':<15}  held-out  gain"]
    for row in rows:
        found, base, (mean, low, high) = row["recommended"], row["baseline"], row["gain"]
        model = base["allocation"].split()[1]
        lines.append(
            f"{row['budget']:>5g}  {found['allocation']:<45}  {found['score']:>8.3f}  {model:<15}  "
            f"{base['score']:>8.3f}  {mean:+.3f} ({low:+.3f} to {high:+.3f})"
        )
    return "\n".join(lines)


WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 800, 430, 60, 40, 66, 84
LOWEST, HIGHEST = math.log(220), math.log(4200)
"""Of the costs shown, by their logarithm."""
STYLE = """<style>
text { font: 13px system-ui, sans-serif; fill: #24292f } .small { font-size: 12px; fill: #57606a }
.title { font-size: 15px; font-weight: 600 } .grid { stroke: #d0d7de } .paper { fill: #ffffff }
.found { stroke: #0969da; fill: #0969da } .once { stroke: #bc4c00; fill: #bc4c00 }
text.found, text.once { stroke: none; font-weight: 600 } path.found, path.once { fill: none; stroke-width: 2 }
path.once { stroke-dasharray: 5 4 }
@media (prefers-color-scheme: dark) {
text { fill: #e6edf3 } .small { fill: #9198a1 } .grid { stroke: #3d444d } .paper { fill: #0d1117 }
.found { stroke: #4493f8; fill: #4493f8 } .once { stroke: #f0883e; fill: #f0883e }
path.found, path.once { fill: none } }
</style>"""


def _x(cost: float) -> float:
    return LEFT + (math.log(cost) - LOWEST) / (HIGHEST - LOWEST) * (WIDTH - LEFT - RIGHT)


def _y(score: float) -> float:
    return HEIGHT - BOTTOM - (score - 0.3) / 0.7 * (HEIGHT - TOP - BOTTOM)


def picture(rows: Sequence[Row]) -> str:
    """Score against cost, as an SVG that follows its reader's light or dark scheme."""
    found, base = ([row[kind] for row in rows] for kind in ("recommended", "baseline"))
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img">',
        "<title>Score against cost: the winners of a search, and the largest model that fits, once</title>",
        STYLE,
        f'<rect class="paper" width="{WIDTH}" height="{HEIGHT}"/>',
        _text("Score against cost on held-out examples", LEFT, 24, "title", "start"),
        _text(
            "minihop: recorded samples of four tiny language models; 300 examples; bars are 95 % intervals",
            LEFT, 44, "small", "start",
        ),
        *_axes(rows),
        *_points(base, "once", _steps(base), value_y=22),
        *_points(found, "found", _straight(found), value_y=-12),
        _text("the winner of the search at each budget", _x(760), _y(0.94), "found", "middle"),
        _text("the largest model that fits, once", _x(1250), _y(0.55), "once", "start"),
        "</svg>",
    ]  # fmt: skip
    return "\n".join(parts) + "\n"


def _text(text: str, x: float, y: float, kind: str, anchor: str = "middle") -> str:
    return f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{text}</text>'


def _axes(rows: Sequence[Row]) -> list[str]:
    """Scores at the left; below each budget what it is, and what the search gained there."""
    parts = []
    for score in (0.4, 0.6, 0.8, 1.0):
        y = _y(score)
        parts.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(_text(f"{score:.1f}", LEFT - 8, y + 4, "small", "end"))
    for row in rows:
        x, y, (mean, low, high) = _x(row["budget"]), HEIGHT - BOTTOM, row["gain"]
        parts.append(_text(f"{row['budget']:,.0f} MFLOP", x, y + 20, "small"))
        parts.append(_text(f"gain {mean:+.3f}", x, y + 42, "value"))
        parts.append(_text(f"({low:+.3f} to {high:+.3f})", x, y + 60, "small"))
    return parts


def _straight(points: Sequence[Row]) -> str:
    return "L".join(f"{_x(point['cost']):.1f} {_y(point['score']):.1f}" for point in points)


def _steps(points: Sequence[Row]) -> str:
    """Level from each cost to the next: between them nothing larger fits."""
    first, *others = [(f"{_x(point['cost']):.1f}", f"{_y(point['score']):.1f}") for point in points]
    return " ".join([*first, *(f"H{x}V{y}" for x, y in others)])


def _points(points: Sequence[Row], kind: str, line: str, *, value_y: float) -> list[str]:
    """Points with their scores and intervals, and a line through them."""
    parts = [f'<path class="{kind}" d="M{line}"/>']
    for point in {each["cost"]: each for each in points}.values():
        x, y, (low, high) = _x(point["cost"]), _y(point["score"]), point["interval"]
        parts.append(f'<line class="{kind}" x1="{x:.1f}" x2="{x:.1f}" y1="{_y(low):.1f}" y2="{_y(high):.1f}"/>')
        parts.append(f'<circle class="{kind}" cx="{x:.1f}" cy="{y:.1f}" r="5"/>')
        side = "end" if value_y < 0 else "start"
        parts.append(_text(f"{point['score']:.3f}", x + math.copysign(8, value_y), y + value_y, kind, side))
    return parts


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=24)
    parser.add_argument("--out", type=Path, help="folder that the figures and the picture are written to")
    arguments = parser.parse_args()
    rows = asyncio.run(measure(arguments.trials))
    print(table(rows))
    if arguments.out is not None:
        (arguments.out / "largest_once.json").write_text(json.dumps(rows, indent=2) + "\n")
        (arguments.out / "largest_once.svg").write_text(picture(rows))


if __name__ == "__main__":
    main()
