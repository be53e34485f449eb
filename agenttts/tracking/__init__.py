"""Telling other tools about a search: MLflow, Weights & Biases, Optuna's storage. Each needs its own client.

A tracker is a callback of `at.search` and is told the end: see `MlflowTracker`.
"""

from agenttts.tracking.base import Tracker
from agenttts.tracking.mlflow import MlflowTracker
from agenttts.tracking.optuna import export_to_optuna
from agenttts.tracking.registry import tracker, tracker_names
from agenttts.tracking.wandb import WandbTracker

__all__ = ["MlflowTracker", "Tracker", "WandbTracker", "export_to_optuna", "tracker", "tracker_names"]
