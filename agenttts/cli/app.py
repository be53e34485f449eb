"""The `agenttts` command: its own options, the commands in order, and how it ends."""

from __future__ import annotations

import errno
import sys
import traceback
from importlib.metadata import version
from typing import Annotated, Literal, NoReturn

import typer
from typer.exceptions import TyperException

from agenttts._util.files import working_folder
from agenttts._util.text import one_line
from agenttts.cli import read, search, serve
from agenttts.cli.samples import samples
from agenttts.cli.upkeep import store
from agenttts.errors import AgentTTSError, ConfigError

_INTERRUPTED = 130
"""What typer makes of a KeyboardInterrupt."""
_OF_OUTPUT = (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EBADF)
"""What writing to a full disk, or to a terminal that is gone, raises; files of ours say more themselves."""

app = typer.Typer(
    name="agenttts",
    help="Find which model each stage of an LLM pipeline should use, and how many samples it should draw, under one "
    "compute budget per query.",
    epilog="Exit codes: 0 done (also when a spending limit ended the search), 1 a bug of ours, 2 bad input, 3 a model "
    "server failed, 4 the store is unusable, 130 interrupted (run the same command again to go on).",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)


def _show_version(wanted: bool) -> None:
    if wanted:
        from agenttts.cli.console import write_line

        write_line(version("agenttts"))
        raise typer.Exit


@app.callback()
def options(
    show_version: Annotated[
        bool, typer.Option("--version", help="Print the version.", is_eager=True, callback=_show_version)
    ] = False,
    log: Annotated[
        Literal["debug", "info", "warning", "error"],
        typer.Option("--log", help="What is logged on standard error (logger 'agenttts')."),
    ] = "warning",
) -> None:
    """Options of the command itself."""
    import logging

    from agenttts.cli.console import LogHandler

    handler, logger = LogHandler(), logging.getLogger("agenttts")
    if log != "warning":  # a warning stands alone, as Python shows it without any handler
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
        logger.setLevel(log.upper())
    logger.handlers = [handler]  # ours alone, however often a process runs commands
    # PostgreSQL's driver warns of what it leaves undone after an error, once for each connection; the error is told.
    logging.getLogger("psycopg").setLevel(logging.ERROR)
    logging.getLogger("sqlalchemy.pool").setLevel(logging.CRITICAL)  # it shows tracebacks of the same


for _command in (  # in the order of `--help`
    search.init,
    search.check,
    search.search,
    search.compare,
    search.record,
    search.ablate,
    search.calibrate,
    serve.serve,
    serve.simulate,
    read.studies,
    read.trials,
    read.trace,
    samples,
    read.best,
    store,
    read.watch,
    serve.view,
    read.export,
    serve.serve_pipeline,
    read.frontier,
    read.report,
    read.environments,
):
    app.command()(_command)


def main() -> None:
    """Entry point: errors are one sentence and an exit code, ours as well as typer's own."""
    from agenttts.cli.console import discard_output, escape_unencodable, leave_threads, open_closed, write_line

    open_closed()
    escape_unencodable()
    if working_folder() is None:  # else Python's own imports fail where they look into it
        sys.path[:] = filter(None, sys.path)
    try:
        code = app(standalone_mode=False)
    except AgentTTSError as error:
        _fail(str(error), error.exit_code)
    except TyperException as error:
        usage = error.format_message().replace(": Value error, ", ": ").rstrip(".")
        # Without arguments it has printed the help already, and has no more to say.
        _fail(f"{usage}; --help tells more" if usage else "", error.exit_code)
    except Exception as error:
        if isinstance(error, OSError) and error.errno in _OF_OUTPUT and error.filename is None:
            discard_output()
            _fail(f"cannot write to standard output: {error.strerror}", ConfigError.exit_code)
        # A bug of ours, whose traceback may quote what others wrote.
        write_line(traceback.format_exc().rstrip(), stderr=True)
        sys.exit(1)
    if code == _INTERRUPTED:
        write_line("interrupted: run the same command again to go on", stderr=True)
        leave_threads(code)
    sys.exit(code)


def _fail(message: str, code: int) -> NoReturn:
    """Say it in one line, whatever it quotes, and end."""
    from agenttts.cli.console import write_line

    if line := one_line(message):
        write_line(f"error: {line}" if code else line, stderr=True)
    sys.exit(code)
