"""The winner at work: from an allocation file to a pipeline that answers."""

from agenttts.deployment.answer import PipelineAnswer, StageUse
from agenttts.deployment.answering import DeployedPipeline
from agenttts.deployment.file import deployed

__all__ = [
    "DeployedPipeline",
    "PipelineAnswer",
    "StageUse",
    "deployed",
]
