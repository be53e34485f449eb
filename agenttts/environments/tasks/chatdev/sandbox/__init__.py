"""Running generated programs where they can do no harm."""

from agenttts.environments.tasks.chatdev.sandbox._run import Limits, Outcome, execute, require_sandbox, run_program

__all__ = ["Limits", "Outcome", "execute", "require_sandbox", "run_program"]
