"""Serving a simulation for the command line."""

from __future__ import annotations

import shlex

from agenttts._util.hints import program
from agenttts.cli.console import open_console, print_wrapped
from agenttts.cli.live import print_heading
from agenttts.simulation import Simulation, SimulationServer


def run_simulation(simulation: Simulation, data: str, *, port: int) -> None:
    """Serve until interrupted, after a banner that says what is served."""
    server, console = SimulationServer(simulation, port=port), open_console()
    print_wrapped(console, "SIMULATION: no LLM runs, and no score says anything of a real model.")
    print_heading(
        console,
        [
            ("task", f"{simulation.task}: {simulation.examples} examples of {data}"),
            ("models", ", ".join(simulation.models)),
            *([("embeddings", f"{simulation.embedder}, a bag of words")] if simulation.embedder else []),
            ("serving", f"{server.url} until Ctrl-C"),
        ],
    )
    command = f"{program()} search {simulation.task} --data {shlex.quote(data)} --llm none"
    console.print(f"rehearse     OPENAI_BASE_URL={server.url} {command}", soft_wrap=True)
    server.run()
