"""TaskBench: from a request to a plan of tool calls in three stages, and the metrics of such plans."""

from agenttts.environments.tasks.taskbench.metrics import argument_f1, link_f1, node_f1, step_rouge_l
from agenttts.environments.tasks.taskbench.pipeline import pipeline, taskbench
from agenttts.environments.tasks.taskbench.tools import ToolGraph

__all__ = ["ToolGraph", "argument_f1", "link_f1", "node_f1", "pipeline", "step_rouge_l", "taskbench"]
