"""Rendering a subtask's prompt: Jinja templates over the example's fields and the outputs before it, or a callable."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache

from jinja2 import StrictUndefined, TemplateError, meta
from jinja2.sandbox import ImmutableSandboxedEnvironment

from agenttts.errors import ConfigError
from agenttts.pipeline import Example, Message, Pipeline, Subtask, SubtaskInput

_JINJA = ImmutableSandboxedEnvironment(undefined=StrictUndefined, keep_trailing_newline=False, autoescape=False)
_compiled = lru_cache(maxsize=256)(_JINJA.from_string)


@lru_cache(maxsize=256)
def _named(template: str) -> frozenset[str]:
    """The names that a template looks up."""
    return frozenset(meta.find_undeclared_variables(_JINJA.parse(template)))


def render(subtask: Subtask, given: SubtaskInput) -> list[Message]:
    """The messages of one request.

    Raises:
        ConfigError: When the template cannot be rendered for this example.
    """
    if isinstance(subtask.prompt, str):
        try:
            fields = {name: value for name, value in given.example.items() if isinstance(name, str)}
            names = {**fields, **given.inputs, **given.options}
            content: str | Sequence[Message] = _compiled(subtask.prompt).render(names)
        except TemplateError as error:
            raise ConfigError(f"the prompt of subtask {subtask.name!r} cannot be rendered: {error}") from error
    elif subtask.prompt is not None:
        content = subtask.prompt(given)
    else:
        return []
    if not isinstance(content, str):
        return [dict(message) for message in content]
    system: list[Message] = [{"role": "system", "content": subtask.system}] if subtask.system is not None else []
    return [*system, {"role": "user", "content": content}]


def check_templates(pipeline: Pipeline, examples: Iterable[Example]) -> None:
    """Make sure that every template finds its fields in every example.

    Raises:
        ConfigError: On a template that cannot be parsed, or that names a field which an example lacks.
    """
    rows = list(examples)
    for subtask in pipeline.subtasks:
        if not isinstance(subtask.prompt, str):
            continue
        try:
            names = _named(subtask.prompt)
        except TemplateError as error:
            raise ConfigError(f"the prompt of subtask {subtask.name!r} is not a valid template: {error}") from error
        for name in subtask.options:
            if any(name in row for row in rows):
                raise ConfigError(
                    f"option {name!r} of subtask {subtask.name!r} is the name of a field of the examples, too: "
                    "its prompt could not tell them apart, so rename one of them"
                )
        for name in sorted(names - set(pipeline.parents(subtask.name)) - set(subtask.options)):
            for row in rows:
                if name not in row:
                    where = f"example {row['id']!r}" if "id" in row else "the input"
                    raise ConfigError(
                        f"the prompt of subtask {subtask.name!r} names {name!r}, which {where} lacks; "
                        f"it has {', '.join(sorted(map(str, row))) or 'no field'}"
                    )
