"""Reading an archive and drawing it.

The examples are of one finished study: `store` holds it, `found` is what `read_findings` reads of it, and `result` what
its search returned.
"""

from agenttts.report.data.frames import examples_frame, samples_frame, stages_frame, steps_frame, trials_frame
from agenttts.report.data.frontier import frontier_row
from agenttts.report.data.rows import recommendation, step_row, study_row, trace_rows, trial_row
from agenttts.report.data.said import SaidExample, read_said
from agenttts.report.figures.figures import (
    budget_figure,
    frontier_figure,
    preference_figure,
    progress_figure,
    recommended_figure,
    scaling_figure,
)
from agenttts.report.findings.comparison import Comparison, compare_runs
from agenttts.report.findings.findings import Findings, read_findings
from agenttts.report.findings.frontier import study_frontier
from agenttts.report.findings.scaling import Curve, scaling_curves
from agenttts.report.findings.spending import cost_notes, study_scale
from agenttts.report.page.html import report_html
from agenttts.report.page.story import answer_lines
from agenttts.report.terminal.frontier import frontier_table, pareto_table
from agenttts.report.terminal.lines import summary_lines, trace_lines
from agenttts.report.terminal.said import said_lines
from agenttts.report.terminal.tables import comparison_table, studies_table, trials_table

__all__ = [
    "Comparison",
    "Curve",
    "Findings",
    "SaidExample",
    "answer_lines",
    "budget_figure",
    "compare_runs",
    "comparison_table",
    "cost_notes",
    "examples_frame",
    "frontier_figure",
    "frontier_row",
    "frontier_table",
    "pareto_table",
    "preference_figure",
    "progress_figure",
    "read_findings",
    "read_said",
    "recommendation",
    "recommended_figure",
    "report_html",
    "said_lines",
    "samples_frame",
    "scaling_curves",
    "scaling_figure",
    "stages_frame",
    "step_row",
    "steps_frame",
    "studies_table",
    "study_frontier",
    "study_row",
    "study_scale",
    "summary_lines",
    "trace_lines",
    "trace_rows",
    "trial_row",
    "trials_frame",
    "trials_table",
]
