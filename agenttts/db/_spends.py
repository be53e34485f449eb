"""What a study spent, added up as it is recorded: a long study need not be read for it.

Each of the searches of a study hears with what it pays for what all of them have (`charge`): so they keep to one limit.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from sqlalchemy import Connection, Engine, func, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.sql.dml import ReturningInsert

from agenttts.db import _schema as t
from agenttts.db._engine import read
from agenttts.db._rows import SPEND
from agenttts.db._study import Study
from agenttts.llm.samples import Spend
from agenttts.study.trial import RULES

_TOTALS = tuple(column for column in t.totals.c if column is not t.totals.c.study_id)


def spend_of(engine: Engine, study: Study) -> Spend:
    """See `Store.spend`."""
    wanted = select(*_TOTALS).where(t.totals.c.study_id == study.id)
    row = read(engine, lambda connection: connection.execute(wanted).one_or_none())
    return Spend() if row is None else Spend(**row._asdict())


def own_spend_of(engine: Engine, study: Study) -> Spend:
    """See `Store.own_spend`."""
    spend, mine = t.steps.c.spend, (t.steps.c.study_id == study.id) & (t.steps.c.planner != RULES)
    parts = {
        column.name: spend[column.name].as_float()
        if column.type.python_type is float
        else spend[column.name].as_integer()
        for column in _TOTALS
    }
    summed = select(*(func.coalesce(func.sum(part), 0).label(name) for name, part in parts.items())).where(mine)
    row = read(engine, lambda connection: connection.execute(summed).one())
    return SPEND.validate_python(row._asdict())


def unbought(spend: Spend) -> Spend:
    """What of the spend of a trial or a check no purchase has charged."""
    return Spend(
        reused_prompt_tokens=spend.reused_prompt_tokens,
        reused_completion_tokens=spend.reused_completion_tokens,
        seconds=spend.seconds,
    )


def charge(connection: Connection, study_id: int, spend: Spend) -> Spend:
    """Add to what a study has spent, in the transaction that records it: until that ends nobody else charges the study.

    Returns:
        What has been spent in all, by whomever.
    """
    row = {column.name: getattr(spend, column.name) for column in _TOTALS}
    charged = connection.execute(_charging(connection.dialect.name), {"study_id": study_id, **row})
    return Spend(**charged.one()._asdict())


@cache
def _charging(dialect: str) -> ReturningInsert[Any]:
    added = (postgresql if dialect == "postgresql" else sqlite).insert(t.totals)
    sums = {column.name: column + added.excluded[column.name] for column in _TOTALS}
    charged = added.on_conflict_do_update(index_elements=[t.totals.c.study_id], set_=sums)
    returning: ReturningInsert[Any] = charged.returning(*_TOTALS)
    return returning
