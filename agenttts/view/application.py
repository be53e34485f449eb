"""The web application: routes, headers, and how a page looks at the store again.

Who may ask is not decided here: `web.WebServer` guards every route (hosts, origins, token). Nothing can be changed by a
request, and no page runs a script but the three that are served here. Whatever a model, a server or a user wrote is
text: the templates escape it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from importlib import resources
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode

from agenttts._util.hints import install
from agenttts.db import Store, Study
from agenttts.errors import AgentTTSError, ConfigError
from agenttts.report.page.html import page_environment, plotly_js
from agenttts.view.background import Background
from agenttts.view.pages import NotFound, Pages

if TYPE_CHECKING:
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import Response

COOKIE = "agenttts_view"
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}
Context = dict[str, Any]
_NUMBER = "[0-9]{1,9}"


def application(store: Store, background: Background) -> Starlette:
    """The pages of a store.

    Args:
        store: What is shown.
        background: What works out what takes long; to be closed after the last request.

    Raises:
        ConfigError: When the extra `view` is not installed.
    """
    try:
        from starlette.applications import Starlette
        from starlette.convertors import IntegerConvertor, register_url_convertor
        from starlette.exceptions import HTTPException
        from starlette.responses import HTMLResponse, JSONResponse, Response
        from starlette.routing import Route

        files = _files()
    except (ImportError, ConfigError) as error:
        raise ConfigError(f"the view needs a web server and plotly: {install('view')}") from error

    class Number(IntegerConvertor):
        """A number as ids are: longer ones no database has."""

        regex = _NUMBER

    register_url_convertor("number", Number())
    pages = Pages(store, background)
    environment = page_environment("agenttts.view")
    environment.globals["address"] = address

    def html(template: str, context: Context, status: int = 200) -> Response:
        plain: Context = {"study": None, "stamp": None, "query": {}}
        return HTMLResponse(environment.get_template(template).render({**plain, **context}), status, HEADERS)

    def page(template: str, make: Callable[[Request, Study | None], Context], *, live: bool = False) -> Any:
        def shown(request: Request) -> Response:
            number = request.path_params.get("study")
            study = None if number is None else pages.study(number)
            stamp = pages.stamp(study) if live else None
            return html(template, {"stamp": stamp, "query": dict(request.query_params), **make(request, study)})

        return shown

    def stamp(request: Request) -> Response:
        number = request.query_params.get("study", "")
        study = pages.study(int(number)) if re.fullmatch(_NUMBER, number) else None
        return JSONResponse({"stamp": pages.stamp(study)}, headers=HEADERS)

    def file(request: Request) -> Response:
        name = request.path_params["name"]
        if name not in files:
            raise NotFound(f"there is no file {name!r}")
        kind = "text/css" if name.endswith(".css") else "text/javascript"
        return Response(files[name], media_type=kind, headers={**HEADERS, "Cache-Control": "max-age=3600"})

    def failed(_: Request, error: Exception) -> Response:
        if isinstance(error, HTTPException):
            return html("message.html.j2", {"message": error.detail}, error.status_code)
        return html("message.html.j2", {"message": str(error)}, 404 if isinstance(error, NotFound) else 500)

    of_trial = "/studies/{study:number}/trials/{trial:number}"
    routes = [
        Route("/", page("studies.html.j2", lambda request, _: pages.studies(request.query_params), live=True)),
        Route("/studies/{study:number}", page("one_study.html.j2", _of(pages.one_study), live=True)),
        Route("/studies/{study:number}/wrong", page("wrong.html.j2", _of(pages.wrong))),
        Route("/studies/{study:number}/search", page("search.html.j2", _of(pages.search))),
        Route(of_trial, page("trial.html.j2", _of(pages.trial, "trial"))),
        Route(f"{of_trial}/example", page("example.html.j2", _of(pages.example, "trial"))),
        Route("/compare", page("compare.html.j2", lambda request, _: pages.compare(request.query_params))),
        Route("/stamp", stamp),
        Route("/files/{name}", file),
    ]
    return Starlette(routes=routes, exception_handlers={AgentTTSError: failed, HTTPException: failed})


def _of(make: Callable[..., Context], *names: str) -> Callable[[Request, Any], Context]:
    """What makes the context of a page from the study, numbers of the path, and the query."""

    def made(request: Request, study: Any) -> Context:
        return make(study, *(request.path_params[name] for name in names), request.query_params)

    return made


def address(path: str, query: Mapping[str, Any] | None = None, **changed: Any) -> str:
    """The address of a page: a path with a query, of which some parts are changed, or left out when None.

    Example:
        >>> address("/studies/1", {"order": "score"}, page=2)
        '/studies/1?order=score&page=2'
    """
    parts = {name: value for name, value in {**(query or {}), **changed}.items() if value is not None}
    return quote(path) + (f"?{urlencode(parts)}" if parts else "")


def _files() -> dict[str, str]:
    """What the pages load: styles and scripts, of ours and plotly's."""
    ours, report = (resources.files(name) / "templates" for name in ("agenttts.view", "agenttts.report.page"))
    return {
        "report.css": (report / "report.css").read_text("utf-8"),
        "report.js": (report / "report.js").read_text("utf-8"),
        "view.css": (ours / "view.css").read_text("utf-8"),
        "view.js": (ours / "view.js").read_text("utf-8"),
        "plotly.js": plotly_js(),
    }
