"""Simulated models, labelled as such: rehearse the paper's tasks through the whole real client, without an LLM."""

from agenttts.simulation.answerer import Answerer, Request, UnknownPrompt
from agenttts.simulation.client import SimulatedClient
from agenttts.simulation.faults import Faults
from agenttts.simulation.server import SimulationServer
from agenttts.simulation.simulation import ANSWERERS, Simulation

__all__ = [
    "ANSWERERS",
    "Answerer",
    "Faults",
    "Request",
    "SimulatedClient",
    "Simulation",
    "SimulationServer",
    "UnknownPrompt",
]
