"""The pages over HTTP: headers, tokens, what is not there, and stores that did not keep what was said."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import httpx
import pytest
from sqlalchemy import text

import agenttts as at
from agenttts._util.web import WebServer
from agenttts.view.application import COOKIE, application
from agenttts.view.background import Background
from tests.view.conftest import Searched

PAGES = ("/", "/studies/1", "/studies/1/wrong", "/studies/1/search?q=zz", "/studies/1/trials/1", "/compare?a=1:1&b=1:2")


@pytest.mark.parametrize("page", PAGES)
def test_a_page_forbids_all_scripts_but_its_own_and_escapes_what_was_said(address: str, page: str) -> None:
    answer = httpx.get(address + page)
    assert answer.status_code == 200
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'; script-src 'self';" in policy and "frame-ancestors 'none'" in policy
    assert "<script>window" not in answer.text and "<img" not in answer.text and "\x1b" not in answer.text
    assert "\u202e" not in answer.text and answer.headers["referrer-policy"] == "no-referrer"


@pytest.mark.parametrize(
    "page, said",
    [
        ("/studies/7", "no study 7"),
        ("/studies/1/trials/99", "has no trial 99"),
        ("/studies/1/trials/1/example?id=nobody", "has not seen an example &#39;nobody&#39;"),
        ("/compare?a=1:1&b=<b>", "names no trial"),
        ("/compare", "names no trial"),
        ("/studies/x", "Not Found"),
        *(
            (f"{where}{'9' * digits}", "Not Found")
            for where in ("/studies/", "/studies/1/trials/")
            for digits in (30, 5000)
        ),
        ("/studies/1/trials/" + "9" * 30 + "/example?id=x", "Not Found"),
        ("/files/../pyproject.toml", "Not Found"),
    ],
)
def test_what_is_not_there_is_named(address: str, page: str, said: str) -> None:
    answer = httpx.get(address + page)
    assert answer.status_code == 404 and said in answer.text and "<b>" not in answer.text.replace("<b aria", "")


@pytest.mark.parametrize(
    "query", ["page=0", "page=-1", "page=999999999999", "page=x", "order=<b>", "rounds=3&page=%00"]
)
def test_an_odd_query_shows_the_nearest_page(address: str, query: str) -> None:
    assert httpx.get(f"{address}/studies/1?{query}").status_code == 200


def stamp(address: str, **query: str) -> str:
    """What it says of the store; the rest, of pictures, changes in the background."""
    return str(httpx.get(f"{address}/stamp", params=query).json()["stamp"]).rpartition("/")[0]


@pytest.mark.parametrize("study", ["", "x", "-1", "²", "9" * 30, "9" * 5000])
def test_the_stamp_of_no_study_is_the_stores(address: str, study: str) -> None:
    assert stamp(address, study=study) == stamp(address)


def test_foreign_hosts_origins_and_methods_are_rejected(address: str) -> None:
    assert httpx.get(address, headers={"Host": "evil.example"}).status_code == 403
    assert httpx.get(address, headers={"Origin": "http://evil.example"}).status_code == 403
    assert httpx.post(address, json={}).status_code == 405


def test_a_search_goes_on_where_a_piece_ended(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agenttts.view.texts.PIECE_S", 0.0)
    monkeypatch.setattr("agenttts.view.texts._AT_ONCE", 3)
    found, page = 0, "/studies/1/search?q=NEEDLE1"
    for _ in range(50):
        said = httpx.get(address + page).text
        found += said.count("<mark>needle1</mark>")
        before, more, after = said.partition('<a id="more" href="')
        if not more:
            break
        page = after.partition('"')[0].replace("&amp;", "&")
    assert "Looked through all trials" in said and found >= 4


def test_beyond_loopback_a_browser_shows_its_token_once(searched: Searched) -> None:
    searched.wait_for(1)
    with closing(Background()) as background, closing(at.Store(searched.store.location)) as store:
        app = application(store, background)
        with pytest.raises(at.ConfigError, match="lets other machines in"):
            WebServer(app, host="0.0.0.0", cookie=COOKIE)
        with WebServer(app, host="0.0.0.0", token="s;e c", cookie=COOKIE) as server:
            address = server.address.replace("0.0.0.0", "127.0.0.1")
            with httpx.Client(base_url=address) as browser:
                assert browser.get("/").status_code == 401
                assert browser.get("/?token=wrong").status_code == 401
                entered = browser.get("/studies/1?token=s%3Be+c")
                assert (entered.status_code, entered.headers["location"]) == (303, "/studies/1")
                cookie = entered.headers["set-cookie"]
                assert "HttpOnly" in cookie and "SameSite=Strict" in cookie and "s;e c" not in cookie
                assert browser.get("/").status_code == 200
            assert httpx.get(address, headers={"Authorization": "Bearer s;e c"}).status_code == 200
            assert httpx.get(address, cookies={COOKIE: "s;e c"}).status_code == 401


def test_a_store_without_transcripts_or_studies_says_so(tmp_path: Path, searched: Searched) -> None:
    searched.wait_for(2)
    with closing(at.Store(str(tmp_path / "empty.db"))) as empty, closing(Background()) as background:
        with WebServer(application(empty, background)) as server:
            assert "There is no study yet" in httpx.get(server.address).text
    copy = tmp_path / "old.db"
    with closing(sqlite3.connect(searched.store.location)) as source, closing(sqlite3.connect(copy)) as target:
        source.backup(target)
    with closing(at.Store(str(copy))) as old, closing(Background()) as background:
        with old._engine.begin() as connection:
            connection.execute(text("DELETE FROM transcripts"))
        name = old.archive(old.study()).trials[0].evaluation.results[0].example
        with WebServer(application(old, background)) as server, httpx.Client(base_url=server.address) as browser:
            for page in ("/studies/1/wrong", "/studies/1/trials/1"):
                assert "he store does not know which samples" in browser.get(page).text
            answer = browser.get("/studies/1/trials/1/example", params={"id": name})
            assert answer.status_code == 200 and "he store does not know which samples" in answer.text


def test_a_reader_waits_for_no_writer_and_writes_nothing(tmp_path: Path, searched: Searched) -> None:
    searched.wait_for(2)
    copy = tmp_path / "copy.db"
    with closing(sqlite3.connect(searched.store.location)) as source, closing(sqlite3.connect(copy)) as target:
        source.backup(target)
    with (
        closing(at.Store(str(copy))) as store,
        closing(Background()) as background,
        WebServer(application(store, background)) as server,
        closing(sqlite3.connect(copy, isolation_level=None)) as writer,
    ):
        version = writer.execute("PRAGMA data_version").fetchone()
        for page in PAGES:  # while a search is in the midst of a transaction
            writer.execute("BEGIN IMMEDIATE")
            writer.execute("UPDATE studies SET name = name")
            assert httpx.get(server.address + page).status_code == 200
            writer.execute("COMMIT")
        assert writer.execute("PRAGMA data_version").fetchone() == version  # nobody else has written


def test_the_stamp_changes_with_the_study(address: str, searched: Searched) -> None:
    before = stamp(address, study="1")
    assert stamp(address, study="1") == before
    searched.finish()
    assert stamp(address, study="1") != before
