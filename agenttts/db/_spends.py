"""What a study spent, added up by the database: a long study need not be read for it.

What is paid for is added up as it is paid (`charge`): each of the searches of a study hears with what it pays what all
of them have, so that they keep to one limit.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cache
from typing import Any

from sqlalchemy import ColumnElement, Connection, Engine, case, func, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.sql.dml import ReturningInsert

from agenttts.db import _schema as t
from agenttts.db._engine import read
from agenttts.db._rows import SPEND
from agenttts.db._study import Study
from agenttts.llm.samples import Spend

_TOKEN_KINDS = ("cached_prompt_tokens", "reasoning_tokens", "estimated_tokens")
_BOUGHT = ("requests", "prompt_tokens", "completion_tokens", *_TOKEN_KINDS, "usd")
_UNBOUGHT = ("reused_prompt_tokens", "reused_completion_tokens", "seconds")
"""What the ledger of purchases does not hold of a trial's spend."""


def spend_of(engine: Engine, study: Study) -> Spend:
    """See `Store.spend`."""
    total = _sum(engine, t.totals, study, {name: t.totals.c[name] for name in _BOUGHT})
    total += _sum(engine, t.trials, study, {name: _spent(engine, name) for name in _UNBOUGHT})
    total += _sum(engine, t.validations, study, _parts(t.validations.c.evaluation["spend"], _UNBOUGHT))
    return total + _sum(engine, t.steps, study, _parts(t.steps.c.spend, _UNBOUGHT))


def own_spend_of(engine: Engine, study: Study) -> Spend:
    """See `Store.own_spend`."""
    return _sum(engine, t.steps, study, _parts(t.steps.c.spend, (*_BOUGHT, *_UNBOUGHT)))


def charge(connection: Connection, study_id: int, spend: Spend) -> Spend:
    """Add to what a study has paid for, in the transaction that records it, and to be done last there: until its end
    no other process charges the study.

    Returns:
        What has been paid for in all, by whomever.
    """
    row = {"study_id": study_id, **{name: getattr(spend, name) for name in _BOUGHT}}
    return Spend(**connection.execute(_charging(connection.dialect.name), row).one()._asdict())


@cache
def _charging(dialect: str) -> ReturningInsert[Any]:
    added = (postgresql if dialect == "postgresql" else sqlite).insert(t.totals)
    sums = {name: t.totals.c[name] + added.excluded[name] for name in _BOUGHT}
    charged = added.on_conflict_do_update(index_elements=[t.totals.c.study_id], set_=sums)
    returning: ReturningInsert[Any] = charged.returning(*(t.totals.c[name] for name in _BOUGHT))
    return returning


def _sum(engine: Engine, table: Any, study: Study, columns: Mapping[str, ColumnElement[Any]]) -> Spend:
    sums = [func.coalesce(func.sum(column), 0).label(name) for name, column in columns.items()]
    summed = select(*sums).where(table.c.study_id == study.id)
    row = read(engine, lambda connection: connection.execute(summed).one())
    return SPEND.validate_python(row._asdict())


def _spent(engine: Engine, name: str) -> ColumnElement[Any]:
    """A figure of a trial's spend: as of its newest look, which is shorter than its whole evaluation."""
    looks, whole = t.trials.c.looks, _parts(t.trials.c.evaluation["spend"], [name])[name]
    if engine.dialect.name == "postgresql":
        newest: ColumnElement[Any] = looks[(-1, "spend", name)].as_float()
    else:
        newest = func.json_extract(looks, f"$[#-1].spend.{name}")
    return case((looks.is_(None), whole), else_=newest)


def _parts(spend: Any, names: Iterable[str]) -> dict[str, ColumnElement[Any]]:
    """Figures of a spend that is kept as JSON."""
    return {name: spend[name].as_float() if name in ("usd", "seconds") else spend[name].as_integer() for name in names}
