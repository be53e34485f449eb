"""Serving the view of a store for the command line."""

from __future__ import annotations

from contextlib import closing

from agenttts._util.web import WebServer
from agenttts.cli.console import open_console, print_wrapped
from agenttts.cli.deploy import token_of
from agenttts.cli.store import open_store
from agenttts.view.application import COOKIE, address, application
from agenttts.view.background import Background


def run_view(study: str | None, *, store: str | None, host: str, port: int, token_env: str | None) -> None:
    """Serve until interrupted.

    Args:
        study: The study whose page is told; the list of all when None.
        store: Path or URL of the store; see `open_store`.
        host: The address to listen on.
        port: The port to listen on.
        token_env: Environment variable of the token that a browser needs.

    Raises:
        ConfigError: When there is no such study, the port is taken, or a token is missing.
    """
    token = None if token_env is None else token_of(token_env)
    opened = open_store(store)
    path = "/" if study is None else address(f"/studies/{opened.study(study).id}")
    with closing(Background()) as background:
        app = application(opened, background)
        server = WebServer(app, host=host, port=port, token=token, cookie=COOKIE)
        console = open_console()
        opening = f"; open it once as {server.address}/?token=... with what {token_env} holds" if token else ""
        print_wrapped(console, f"{opened.location} at {server.address}{path} until Ctrl-C{opening}")
        console.file.flush()
        server.run()
