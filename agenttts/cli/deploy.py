"""Serving a deployed pipeline for the command line."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from agenttts._util.web import WebServer
from agenttts.cli.console import open_console, print_wrapped
from agenttts.cli.live import print_heading
from agenttts.cli.problem import parse_endpoints
from agenttts.cli.store import open_store
from agenttts.db import Store
from agenttts.deployment.application import application
from agenttts.deployment.deployed import DeployedPipeline
from agenttts.deployment.file import deployed
from agenttts.report import recommendation


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
    found: str | dict[str, Any] = source
    if not Path(source).is_file() and Path(source).suffix not in (".yaml", ".yml", ".json"):
        opened: Store = open_store(store)
        found = recommendation(opened, opened.study(source))
    pipeline = deployed(found, data=data, endpoints=parse_endpoints(endpoints), timeout_s=timeout_s)
    # Shown once its models have been asked: an error before that stands alone, and only then is it known what they are.
    server = WebServer(application(pipeline), host=host, port=port, within=_announced(pipeline, lambda: server.url))
    server.run()


@asynccontextmanager
async def _announced(pipeline: DeployedPipeline, url: Callable[[], str]) -> AsyncIterator[None]:
    console = open_console()
    async with pipeline:
        if pipeline.recorded:
            print_wrapped(console, f"NO MODEL RUNS: {pipeline.recorded}")
        name, allocation = pipeline.pipeline.name, str(pipeline.allocation)
        where = f"{url()} until Ctrl-C"
        print_heading(console, [("pipeline", name), ("allocation", allocation), ("serving", where)])
        console.file.flush()
        yield
