"""The three stages, as coroutines of two turns at most; each turn draws the stage's samples and fuses them.

    coding            write the program; where parts are left unwritten, complete them
    static_testing    review without running; revise by the comment, unless nothing is found
    dynamic_testing   run the program in the sandbox; where it fails, explain the traceback, then fix

A turn without a usable reply leaves the program as it is (its samples are counted as unparsable); only a program that
cannot be written at all fails the example. A program that runs is not changed, so that the samples of dynamic testing
are drawn for failing programs alone, as dynamic testing means; the budget is what it costs when they are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from agenttts.environments.tasks.chatdev import prompts
from agenttts.environments.tasks.chatdev.files import read_files, written
from agenttts.environments.tasks.chatdev.program import Program, complaint, measured_consistency, ran, run
from agenttts.environments.tasks.chatdev.turns import ask
from agenttts.errors import ParseError
from agenttts.pipeline import Message, SubtaskInput, SubtaskRun
from agenttts.pipeline.fingerprint import identified


@identified("tasks.chatdev.coding", version=1)
async def coding(stage: SubtaskRun) -> Program:
    """Description -> program."""
    example = stage.input.example
    reply = await ask(stage, prompts.write(example), _files)
    if reply is None:
        raise ParseError(f"subtask {stage.subtask.name!r}: none of {stage.samples} samples was a program")
    program = Program(read_files(reply))
    if not program.completeness:
        program = Program(await _changed(stage, program.files, prompts.complete(example, program.files)))
    return program


@identified("tasks.chatdev.static_testing", version=1)
async def static_testing(stage: SubtaskRun) -> Program:
    """Program -> the program revised by a review."""
    example, files = stage.input.example, stage.input.inputs["coding"].files
    comment = await ask(stage, prompts.review(example, files), _words)
    if comment is not None and not comment.strip(" .*`").upper().endswith(prompts.FINISHED):
        files = await _changed(stage, files, prompts.revise(example, files, comment))
    return Program(files, await measured_consistency(files, example["description"], stage))


@identified("tasks.chatdev.dynamic_testing", version=1)
async def dynamic_testing(stage: SubtaskRun) -> Program:
    """Program -> the program fixed by its traceback, and all its measures."""
    example, files = stage.input.example, stage.input.inputs["static_testing"].files
    outcome = await run(files)
    if not ran(outcome):
        failed = complaint(outcome)
        reason = await ask(stage, prompts.explain(example, files, failed), _words)
        fixed = await _changed(stage, files, prompts.fix(example, files, failed, reason or "(nothing)"))
        files, outcome = fixed, await run(fixed)
    return Program(
        files,
        consistency=await measured_consistency(files, example["description"], stage),
        executability=float(ran(outcome)),
    )


async def _changed(stage: SubtaskRun, files: Mapping[str, str], messages: Sequence[Message]) -> dict[str, str]:
    """The files with those that a turn wrote anew."""
    reply = await ask(stage, messages, _files)
    return {**files, **(read_files(reply) if reply is not None else {})}


def _files(sample: str, _: SubtaskInput) -> str:
    return written(read_files(sample))


def _words(sample: str, _: SubtaskInput) -> str:
    if not sample.strip():
        raise ParseError("nothing was said")
    return sample.strip()
