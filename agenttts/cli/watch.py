"""Watching a study from another terminal: the store is read again and again, nothing is written."""

from __future__ import annotations

import time

from rich.live import Live

from agenttts.cli.console import open_console
from agenttts.db import Store
from agenttts.report.terminal.live import Standing, standing_view


def run_watch(store: Store, name: str | None, *, every_s: float, once: bool) -> None:
    """Show how a study stands until interrupted; once where the output is no terminal.

    Args:
        store: Holds the study.
        name: The study; the newest when None.
        every_s: Seconds between looks.
        once: Whether one look is all.
    """
    console, study = open_console(), store.study(name)
    if once or not console.is_terminal:
        console.print(standing_view(Standing.read(store, study)))
        return
    try:
        with Live(standing_view(Standing.read(store, study)), console=console, screen=True, auto_refresh=False) as live:
            while True:
                time.sleep(every_s)
                live.update(standing_view(Standing.read(store, study)), refresh=True)
    except KeyboardInterrupt:
        pass  # this is how it is ended
    console.print(standing_view(Standing.read(store, study)))
