"""Serving a deployed pipeline for the command line."""

from __future__ import annotations

import os
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
from agenttts.deployment.answering import DeployedPipeline
from agenttts.deployment.application import application
from agenttts.deployment.file import deployed, named_environment
from agenttts.errors import ConfigError
from agenttts.report import recommendation


def run_pipeline(
    source: str,
    *,
    store: str | None,
    data: str | None,
    endpoints: Sequence[str],
    timeout_s: float,
    host: str,
    port: int,
    trust: bool = False,
    token_env: str | None = None,
) -> None:
    """Serve until interrupted.

    Args:
        source: An allocation file, or the name of a study in the store.
        store: Path or URL of the store; see `open_store`.
        data: Where the environment's examples are, if not where the file says.
        endpoints: Texts MODEL=URL.
        timeout_s: Seconds that one answer may take.
        host: The address to listen on.
        port: The port to listen on.
        trust: Whether what the file names is followed wherever it is.
        token_env: Environment variable of the bearer token that requests need.

    Raises:
        ConfigError: On a file or study that cannot be deployed here, or a port that is taken.
    """
    found: str | dict[str, Any] = source
    token = None if token_env is None else token_of(token_env)
    if not os.path.isfile(source) and Path(source).suffix not in (".yaml", ".yml", ".json"):
        opened: Store = open_store(store)
        found = recommendation(opened, opened.study(source))
    pipeline = deployed(found, data=data, endpoints=parse_endpoints(endpoints), timeout_s=timeout_s, trust=trust)
    # Shown once its models have been asked: an error before that stands alone, and only then is it known what they are.
    within = _announced(pipeline, named_environment(found) or "", lambda: server.url)
    server = WebServer(application(pipeline), host=host, port=port, within=within, token=token)
    server.run()


def token_of(name: str) -> str:
    """The bearer token in an environment variable.

    Raises:
        ConfigError: When there is none, or it cannot be sent in a header; neither the name, which may be the token by
            mistake, nor the value is quoted.
    """
    token = os.environ.get(name, "")
    if not (token.isascii() and token.isprintable() and token.strip() == token and token):
        raise ConfigError(
            "--token-env takes the name of an environment variable that holds the token, in ASCII without spaces "
            "around it: set it, as in `export PIPELINE_TOKEN=$(openssl rand -hex 32)`"
        )
    return token


@asynccontextmanager
async def _announced(pipeline: DeployedPipeline, environment: str, url: Callable[[], str]) -> AsyncIterator[None]:
    console = open_console()
    async with pipeline:
        if pipeline.recorded:
            print_wrapped(console, f"NO MODEL RUNS: {pipeline.recorded}")
        name, allocation = pipeline.pipeline.name, str(pipeline.allocation)
        where = f"{url()} until Ctrl-C"
        told = [("pipeline", name), ("environment", environment), ("allocation", allocation), ("serving", where)]
        print_heading(console, told)
        console.file.flush()
        yield
