"""What was tried: evaluations, trials, the archive of one study, and what identifies it. Pure values."""

from agenttts.study.evaluation import Evaluation, ExampleResult, SubtaskUsage
from agenttts.study.experience import Experience, Lesson
from agenttts.study.spec import StudySpec
from agenttts.study.trial import AgentStep, Archive, Guideline, Proposal, Refusal, Trial

__all__ = [
    "AgentStep",
    "Archive",
    "Evaluation",
    "ExampleResult",
    "Experience",
    "Guideline",
    "Lesson",
    "Proposal",
    "Refusal",
    "StudySpec",
    "SubtaskUsage",
    "Trial",
]
