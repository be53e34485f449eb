"""Running generated programs where they can do no harm."""

from agenttts.environments.tasks.chatdev.sandbox._run import (
    ProgramLimits,
    ProgramOutcome,
    execute,
    require_sandbox,
    run_program,
)

__all__ = ["ProgramLimits", "ProgramOutcome", "execute", "require_sandbox", "run_program"]
