"""The store: what is written comes back, older schemas are migrated, strangers are refused."""

from __future__ import annotations

import gc
import json
import sqlite3
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from sqlalchemy import Connection, create_engine, inspect, text

import agenttts.db
from agenttts.db import Store
from agenttts.db._schema import metadata
from agenttts.errors import ConfigError, StoreError
from agenttts.llm.samples import Sample, Spend, StoredPrompt
from agenttts.space.allocation import Allocation
from agenttts.study.evaluation import Evaluation, ExampleResult, SubtaskUsage
from agenttts.study.spec import StudySpec
from agenttts.study.trial import AgentStep, Proposal, Refusal
from tests.postgresql import ESCAPED_PASSWORD, PASSWORD, PostgreSQL, find_programs

SPEC = StudySpec(
    environment="toy",
    pipeline="toy",
    sizes={"find": {"small": 1e6}, "answer": {"small": 1e6}},
    fingerprint="f",
    cost_model="flops",
    budget=10,
    pricing="p",
    method="random",
    seed=0,
    examples=2,
)
ALLOCATION = Allocation({"find": ("small", 1), "answer": ("small", 2)})
EVALUATION = Evaluation(
    results=(
        ExampleResult(example="a", score=1.0, subtask_scores={"find": 0.5}, output="<b>yes</b>"),
        ExampleResult(example="b", score=0.0, error="timed out"),
    ),
    spend=Spend(requests=2, prompt_tokens=10, completion_tokens=4, reused_completion_tokens=6, seconds=0.5),
    usage={"find": SubtaskUsage(prompt_tokens=5.0, completion_tokens=2.0, samples=2, unparsable=1)},
)
SECRET = "s3cret"
PROMPT = StoredPrompt("k", "small", "search", [{"role": "user", "content": "?"}], {"temperature": 0.9}, 5)


@contextmanager
def database(url: str) -> Iterator[Connection]:
    """The database behind a store, without the store."""
    address = url.replace("postgresql:", "postgresql+psycopg:") if "://" in url else f"sqlite:///{url}"
    engine = create_engine(address)
    with engine.begin() as connection:
        yield connection
    engine.dispose()


def migrate(connection: Connection, revision: str) -> None:
    """Leave the database as an older version would have."""
    config = Config()
    config.set_main_option("script_location", str(Path(agenttts.db.__file__).parent / "migrations"))
    config.attributes["connection"] = connection
    command.upgrade(config, revision)


def test_a_study_comes_back_as_it_was(any_url: str) -> None:
    first = Store(any_url)
    study = first.start("one", SPEC, {"command": "agenttts search toy"})
    trial = first.add_trial(study, Proposal(ALLOCATION, "why"), EVALUATION, cost=3.5, searcher="random", round=0)
    refusal = Refusal(allocation=ALLOCATION, reasons=("too dear",), searcher="random", round=1)
    first.add_refusal(study, refusal)
    step = AgentStep(round=0, node="reflect", planner="rules", text="small is fine", evidence={"gain": [0.1]})
    first.add_step(study, step)
    first.add_validation(study, ALLOCATION, EVALUATION)
    first.close()

    second = Store(any_url)
    again = second.study("one")
    archive = second.archive(again)
    assert again == study and again.spec == SPEC
    assert archive.trials == (trial,) and trial.number == 1
    assert archive.refusals == (refusal,)
    assert [guideline.text for guideline in archive.guidelines] == ["small is fine"]
    assert second.steps(again) == [step]
    assert second.validation(again, ALLOCATION) == EVALUATION
    second.close()


def test_spend_is_the_ledger_with_the_agents_own(any_store: Store) -> None:
    study = any_store.start("one", SPEC)
    any_store.samples.add(
        PROMPT, 0, [Sample("a", 2)], spend=Spend(requests=1, prompt_tokens=5, completion_tokens=2), study_id=study.id
    )
    any_store.add_step(study, AgentStep(round=0, node="reflect", planner="x", spend=Spend(requests=1, prompt_tokens=7)))
    any_store.add_trial(study, Proposal(ALLOCATION), EVALUATION, cost=1, searcher="random", round=0)
    spend = any_store.spend(study)
    assert (spend.requests, spend.prompt_tokens, spend.completion_tokens) == (2, 12, 2)
    assert (spend.reused_completion_tokens, spend.seconds) == (6, 0.5)


def test_samples_of_a_key_are_an_ordered_list(any_store: Store) -> None:
    any_store.samples.add(PROMPT, 0, [Sample("a", 1), Sample("b", 1)], spend=Spend(), study_id=None)
    any_store.samples.add(PROMPT, 2, [Sample("c", 1)], spend=Spend(), study_id=None)
    assert any_store.samples.read("k", 2) == (5, [Sample("a", 1), Sample("b", 1)], [])
    assert [sample.text for sample in any_store.samples.read("k", 9)[1]] == ["a", "b", "c"]
    assert any_store.samples.read("unknown", 2) == (0, [], [0, 1])


def test_a_claim_is_held_by_one_until_released_or_expired(any_store: Store) -> None:
    assert any_store.samples.claim("k", "me", 60)
    assert not any_store.samples.claim("k", "you", 60)
    any_store.samples.release("k", "me")
    assert any_store.samples.claim("k", "you", -1)  # expired as soon as it was taken
    assert any_store.samples.claim("k", "me", 60)


def test_resuming_with_other_settings_says_what_differs(any_store: Store) -> None:
    any_store.start("one", SPEC)
    with pytest.raises(ConfigError, match="budget is 20.*was 10.*--study"):
        any_store.start("one", replace(SPEC, budget=20))


def test_a_study_of_an_older_version_is_resumed_unless_it_changed(any_url: str) -> None:
    Store(any_url).close()
    with database(any_url) as old:
        spec = {name: value for name, value in vars(SPEC).items() if name != "fingerprints"}
        old.execute(
            text(
                "INSERT INTO studies (name, created, spec, details) VALUES ('one', '2026-01-01 00:00:00', :spec, '{}')"
            ),
            {"spec": json.dumps(spec)},
        )
    store = Store(any_url)
    now = replace(SPEC, fingerprints={"the metric": "m"})
    assert store.start("one", now).spec == SPEC
    with pytest.raises(ConfigError, match="the pipeline or its examples changed, or the study was begun by an agent"):
        store.start("one", replace(now, fingerprint="g"))
    store.close()


def test_an_unknown_study_lists_those_there_are(any_store: Store) -> None:
    with pytest.raises(ConfigError, match="no study yet"):
        any_store.study()
    any_store.start("one", SPEC)
    assert any_store.study().name == "one"
    with pytest.raises(ConfigError, match="no study 'two'; the store has one"):
        any_store.study("two")


def test_a_trial_tells_when_it_saw_what(any_store: Store) -> None:
    study = any_store.start("one", SPEC)
    trial = any_store.add_trial(study, Proposal(ALLOCATION), EVALUATION, cost=1, searcher="random", round=0)
    more = Evaluation(results=(ExampleResult(example="c", score=1.0),), spend=Spend(prompt_tokens=3, seconds=0.25))
    extended = any_store.extend_trial(study, trial, more)
    assert any_store.archive(study).trials == (extended,)
    assert [(look.examples, look.spend.prompt_tokens) for look in extended.looks] == [(2, 10), (3, 13)]
    assert any_store.spend(study) == Spend(reused_completion_tokens=6, seconds=0.75)
    assert extended.looks[0].at == trial.created <= extended.looks[1].at


def test_garbage_is_collected_after_a_study_is_read_as_before(store: Store) -> None:
    study = store.start("one", SPEC)
    gc.freeze()
    frozen = gc.get_freeze_count()
    try:
        store.archive(study)
        assert gc.isenabled() and 0 < gc.get_freeze_count() <= frozen
    finally:
        gc.unfreeze()
    store.archive(study)
    assert gc.isenabled() and gc.get_freeze_count() == 0


def test_a_check_that_is_completed_is_charged_once(any_store: Store) -> None:
    study = any_store.start("one", SPEC)
    any_store.add_validation(study, ALLOCATION, EVALUATION)
    more = Evaluation(results=(ExampleResult(example="c", score=1.0),), spend=Spend(seconds=0.25))
    any_store.add_validation(study, ALLOCATION, EVALUATION.extended(more))
    assert any_store.spend(study) == Spend(reused_completion_tokens=6, seconds=0.75)


def test_a_trial_of_an_older_version_does_not_tell_when_it_saw_what(any_url: str) -> None:
    store = Store(any_url)
    study = store.start("one", SPEC)
    store.add_trial(study, Proposal(ALLOCATION), EVALUATION, cost=1, searcher="random", round=0)
    spent = store.spend(study)
    with database(any_url) as old:
        old.execute(text("UPDATE trials SET looks = NULL"))
    (trial,) = store.archive(study).trials
    assert store.spend(study) == spent == Spend(reused_completion_tokens=6, seconds=0.5)
    more = Evaluation(results=(ExampleResult(example="c", score=1.0),), spend=Spend(seconds=0.25))
    assert trial.looks == store.extend_trial(study, trial, more).looks == ()
    assert store.spend(study).seconds == 0.75
    store.close()


@pytest.mark.parametrize("revision", ["0001", "0002"])
def test_an_older_store_is_migrated_with_its_rows(any_url: str, revision: str) -> None:
    with database(any_url) as old:
        migrate(old, revision)
        old.execute(text("INSERT INTO samples VALUES ('k', 0, 'kept', 1)"))
        old.execute(text("INSERT INTO prompts VALUES ('k', 'm', 'search', '[]', '{}', 3)"))
    store = Store(any_url)
    assert store.samples.read("k", 1) == (3, [Sample("kept", 1)], [])
    study = store.start("one", SPEC)
    store.add_validation(study, ALLOCATION, EVALUATION)
    store.close()


def test_results_of_an_older_store_are_read_as_they_were(any_url: str) -> None:
    """Once one mapping each, now one list for each of their fields."""
    first = {"example": "a", "score": 1.0, "subtask_scores": {"find": 0.5}, "output": "<b>yes</b>"}
    second = {"example": "b", "score": 0.0, "error": "timed out"}
    values = {
        "spec": json.dumps(asdict(SPEC)),
        "key": ALLOCATION.key,
        "at": datetime.now(UTC).isoformat(" "),
        "evaluation": json.dumps({"results": [first, second], "spend": {"requests": 2}}),
    }
    with database(any_url) as old:
        migrate(old, "0008")
        old.execute(text("INSERT INTO studies VALUES (1, 'one', :at, :spec, '{}')"), values)
        trial = "1, 1, 1, :key, 3.5, 0.5, 'random', 'why', 0, :at, :evaluation, NULL"
        old.execute(text(f"INSERT INTO trials VALUES ({trial})"), values)
        old.execute(text("INSERT INTO validations VALUES (1, 1, :key, :at, :evaluation)"), values)
    store = Store(any_url)
    trials = store.archive(store.study()).trials
    assert [trial.evaluation.results for trial in trials] == [EVALUATION.results]
    assert store.validation(store.study(), ALLOCATION) == trials[0].evaluation
    assert trials[0].evaluation.spend == Spend(requests=2) and not trials[0].looks
    store.close()


def test_what_an_older_store_spent_counts(any_url: str) -> None:
    spend: dict[str, Any] = {"requests": 1, "prompt_tokens": 50, "usd": 0.25, "reused_prompt_tokens": 7, "seconds": 0.5}
    values = {
        "spec": json.dumps(asdict(SPEC)),
        "key": ALLOCATION.key,
        "at": datetime.now(UTC).isoformat(" "),
        "spend": json.dumps(spend),
        "evaluation": json.dumps({"results": {"example": ["a"], "score": [1.0]}, "spend": spend}),
    }
    paid = {"requests": 1, "prompt_tokens": 10, "completion_tokens": 3, "usd": 0.5, "cached_prompt_tokens": 4}
    with database(any_url) as old:
        migrate(old, "0009")
        for number in (1, 2):
            old.execute(text(f"INSERT INTO studies VALUES ({number}, 's{number}', :at, :spec, '{{}}')"), values)
        for study in (1, 1, None):
            row = {"study": study, **values}
            names = f"INSERT INTO purchases (study_id, model, created, {', '.join(paid)})"
            old.execute(text(f"{names} VALUES (:study, 'm', :at, {', '.join(map(str, paid.values()))})"), row)
        old.execute(text("INSERT INTO steps VALUES (1, 1, 0, 'propose', 'm', '', NULL, '', '', :spend, :at)"), values)
        trial = "1, 1, 1, :key, 3.5, 1, 'random', 'why', 0, :at, :evaluation, NULL"
        old.execute(text(f"INSERT INTO trials VALUES ({trial})"), values)
        old.execute(text("INSERT INTO validations VALUES (1, 1, :key, :at, :evaluation)"), values)
    store = Store(any_url)
    bought: dict[str, Any] = {
        "requests": 3,
        "prompt_tokens": 70,
        "completion_tokens": 6,
        "cached_prompt_tokens": 8,
        "usd": 1.25,
    }
    spent = Spend(**bought, reused_prompt_tokens=21, seconds=1.5)
    assert store.spend(store.study("s1")) == spent and store.spend(store.study("s2")) == Spend()
    assert store.own_spend(store.study("s1")) == Spend(**spend)
    more = Spend(requests=1, completion_tokens=1)
    assert store.samples.add(PROMPT, 0, [Sample("a", 1)], spend=more, study_id=1) == spent + more
    assert store.samples.add(PROMPT, 1, [Sample("b", 1)], spend=more, study_id=None) is None
    store.close()


def test_migrations_lead_to_the_declared_schema(any_url: str) -> None:
    Store(any_url).close()
    with database(any_url) as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []


def test_a_newer_store_is_refused_untouched(any_url: str) -> None:
    Store(any_url).close()
    with database(any_url) as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(StoreError, match="newer agenttts.*9999.*upgrade"):
        Store(any_url)


def test_a_foreign_database_is_refused_untouched(any_url: str) -> None:
    with database(any_url) as other:
        other.execute(text("CREATE TABLE mine (x INTEGER)"))
    with pytest.raises(StoreError, match="not an agenttts store"):
        Store(any_url)
    with database(any_url) as other:
        assert inspect(other).get_table_names() == ["mine"]


def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("not a database, whatever its name is, and long enough for a header to be read from it" * 20)
    with pytest.raises(StoreError, match="cannot open the store"):
        Store(str(path))


def test_what_a_database_refuses_is_kept_in_another_form(any_store: Store) -> None:
    prompt = replace(PROMPT, model="m" * 300, messages=[{"role": "user", "content": "\0"}])
    any_store.samples.add(prompt, 0, [Sample("a\0b", 1), Sample("\ud800", 1)], spend=Spend(requests=1), study_id=None)
    assert [sample.text for sample in any_store.samples.read("k", 2)[1]] == ["a\\x00b", "\\ud800"]
    study = any_store.start("one", SPEC)
    evidence = {"sd": [float("nan"), float("inf"), 0.5]}
    step = AgentStep(round=0, node="reflect", planner="p" * 300, text="\0", evidence=evidence, reply="\0")
    any_store.add_step(study, step)
    assert any_store.steps(study)[0].evidence == {"sd": [None, None, 0.5]}
    failed = Evaluation(results=(ExampleResult(example="a\0", score=0.0, error="\0 in \ud800"),))
    trial = any_store.add_trial(study, Proposal(ALLOCATION, "\0"), failed, cost=1, searcher="s" * 300, round=0)
    assert any_store.archive(study).trials[0].evaluation == trial.evaluation


def test_times_are_in_utc(any_store: Store) -> None:
    study = any_store.start("one", SPEC)
    assert study.created.tzinfo is UTC
    assert abs(datetime.now(UTC) - study.created) < timedelta(hours=1)


def test_a_study_of_too_long_a_name_is_not_begun(any_store: Store) -> None:
    any_store.start("n" * 200, SPEC)
    with pytest.raises(ConfigError, match="at most 200 characters"):
        any_store.start("n" * 201, SPEC)


def test_a_trial_of_the_same_number_or_allocation_stands(any_url: str) -> None:
    first, second = Store(any_url), Store(any_url)
    study = first.start("one", SPEC)
    kept = first.add_trial(study, Proposal(ALLOCATION), EVALUATION, cost=1, searcher="random", round=0)
    assert second.start("one", SPEC) == study
    again = second.add_trial(study, Proposal(ALLOCATION), EVALUATION, cost=1, searcher="grid", round=0)
    other = second.add_trial(
        study, Proposal(ALLOCATION.replaced("answer", "small", 3)), EVALUATION, cost=2, searcher="grid", round=1
    )
    assert again == kept and other.number == 2
    first.close()
    second.close()


def test_a_connection_that_the_server_dropped_is_replaced(postgresql: PostgreSQL) -> None:
    store = Store(postgresql.new_database())
    study = store.start("one", SPEC)
    postgresql.disconnect_all()
    assert store.study("one") == study
    store.close()


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        (
            "nosuch://user:{password}@host/db",
            "cannot open the store nosuch://user:***@host/db: give the path of a SQLite",
        ),
        ("postgresql://user:{password}@127.0.0.1:9/db", "cannot open the store postgresql://user:***@127.0.0.1:9/db: "),
        ("postgres://127.0.0.1:9/db?password={password}", "cannot open the store postgres"),
        ("postgresql://user:{password}/db", "URL cannot be read: write postgresql://USER:PASSWORD@HOST"),
        ("postgresql://user:p@{password}@127.0.0.1:9/db", "special characters of the password as %XX"),
    ],
)
def test_a_url_that_leads_nowhere_is_one_sentence_without_its_password(url: str, reason: str) -> None:
    with pytest.raises(StoreError) as caught:
        Store(url.format(password=SECRET))
    assert reason in str(caught.value)
    assert SECRET not in "".join(traceback.format_exception(caught.value))
    assert "\n" not in str(caught.value)


def test_a_server_that_refuses_is_one_sentence_without_the_password(postgresql: PostgreSQL) -> None:
    for url, reason in (
        (postgresql.url("postgres", password="wr0ng"), ': password authentication failed for user "agenttts"'),
        (postgresql.url("none"), ': database "none" does not exist'),
        (postgresql.url("none") + "?nonsense=1", "invalid connection option"),
    ):
        with pytest.raises(StoreError) as caught:
            Store(url)
        said = "".join(traceback.format_exception(caught.value))
        assert str(caught.value).startswith("cannot open the store postgresql://agenttts:***@127.0.0.1:")
        assert reason in str(caught.value) and "\n" not in str(caught.value)
        assert "wr0ng" not in said and PASSWORD not in said and ESCAPED_PASSWORD not in said


def test_a_store_tells_where_it_is_but_not_its_password(postgresql: PostgreSQL, tmp_path: Path) -> None:
    url = postgresql.new_database()
    for given in (
        url,
        f"{url}?password={ESCAPED_PASSWORD}&application_name=mine",
        url.replace("postgresql", "postgres"),
    ):
        store = Store(given)
        assert store.location == url.replace(ESCAPED_PASSWORD, "***")
        store.close()
    file = Store(str(tmp_path / "50%20 off?.db"))
    assert file.location == str(tmp_path / "50%20 off?.db") and Path(file.location).exists()
    file.close()


def test_a_server_that_dies_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agenttts.db._engine._CUT_S", 0.2)
    programs = find_programs()
    pytest.importorskip("psycopg")
    if programs is None:
        pytest.skip("PostgreSQL is not installed")
    with PostgreSQL(programs) as server:
        store = Store(server.new_database())
        study = store.start("one", SPEC)
    for use in (
        lambda: store.archive(study),
        lambda: store.samples.claim("k", "me", 60),
        lambda: store.add_trial(study, Proposal(ALLOCATION), EVALUATION, cost=1, searcher="random", round=0),
    ):
        with pytest.raises(StoreError, match=r"the store postgresql://agenttts:\*\*\*@127.0.0.1:\d+/test1 refused: "):
            use()
    store.close()


def test_the_store_is_in_wal_mode(store: Store) -> None:
    with sqlite3.connect(store.location) as raw:
        assert raw.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    raw.close()
