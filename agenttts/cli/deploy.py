"""Serving a deployed pipeline for the command line."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from agenttts.cli.console import open_console, print_wrapped
from agenttts.cli.progress import print_heading
from agenttts.cli.run import parse_endpoints
from agenttts.db import Store
from agenttts.deploy import deployed
from agenttts.endpoint import application
from agenttts.report import recommendation
from agenttts.web import WebServer


def run_pipeline(
    source: str, *, store: str, data: str | None, endpoints: Sequence[str], timeout_s: float, host: str, port: int
) -> None:
    """Serve until interrupted.

    Args:
        source: An allocation file, or the name of a study in the store.
        store: Path or URL of the store.
        data: Where the environment's examples are, if not where the file says.
        endpoints: Texts MODEL=URL.
        timeout_s: Seconds that one answer may take.
        host: The address to listen on.
        port: The port to listen on.

    Raises:
        ConfigError: On a file or study that cannot be deployed here, or a port that is taken.
    """
    from agenttts.cli.app import open_store

    found: str | dict[str, Any] = source
    if not Path(source).is_file() and Path(source).suffix not in (".yaml", ".yml", ".json"):
        opened: Store = open_store(store)
        found = recommendation(opened, opened.study(source))
    pipeline = deployed(found, data=data, endpoints=parse_endpoints(endpoints), timeout_s=timeout_s)
    server, console = WebServer(application(pipeline), host=host, port=port, within=pipeline), open_console()
    if pipeline.recorded:
        print_wrapped(console, f"NOT REAL MODELS: {pipeline.recorded}")
    print_heading(
        console,
        [
            ("pipeline", pipeline.pipeline.name),
            ("allocation", str(pipeline.allocation)),
            ("serving", f"{server.url} until Ctrl-C"),
        ],
    )
    console.file.flush()
    server.run()
