"""ChatDev on SRDD: from a description to a program in three stages, run in a sandbox, and the measures of programs."""

from agenttts.environments.tasks.chatdev.pipeline import chatdev, pipeline
from agenttts.environments.tasks.chatdev.program import Program, completeness, consistency, executability, quality

__all__ = ["Program", "chatdev", "completeness", "consistency", "executability", "pipeline", "quality"]
