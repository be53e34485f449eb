"""Reading an archive and drawing it."""

from agenttts.report.comparison import Comparison, compare_runs
from agenttts.report.rows import study_row, trial_row
from agenttts.report.tables import comparison_table, studies_table, summary_lines, trace_lines, trials_table

__all__ = [
    "Comparison",
    "compare_runs",
    "comparison_table",
    "studies_table",
    "study_row",
    "summary_lines",
    "trace_lines",
    "trial_row",
    "trials_table",
]
