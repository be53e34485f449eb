"""Reading an archive and drawing it."""

from agenttts.report.comparison import Comparison, compare_runs
from agenttts.report.frontier import frontier_row, frontier_table, pareto_table, study_frontier
from agenttts.report.lines import summary_lines, trace_lines
from agenttts.report.rows import recommendation, step_row, study_row, trial_row
from agenttts.report.tables import comparison_table, studies_table, trials_table

__all__ = [
    "Comparison",
    "compare_runs",
    "comparison_table",
    "frontier_row",
    "frontier_table",
    "pareto_table",
    "recommendation",
    "step_row",
    "studies_table",
    "study_frontier",
    "study_row",
    "summary_lines",
    "trace_lines",
    "trial_row",
    "trials_table",
]
