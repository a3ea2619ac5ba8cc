"""The labelling page as an application: its addresses and what each answers."""

import base64
import functools
import hashlib
import importlib.resources
import json
import re
from collections.abc import Callable
from typing import Any

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, Response
from starlette.routing import Route

from dact_jax import errors
from dact_jax.labelling import guard, pictures, session as sessions
from dact_jax.labelling.session import RefusedError, Session
from dact_jax.labelling.training import Trainer

_PAGE = "page.html"
_REPORTS = "report.html", "report.md"  # the first that is there is shown
# Its own policy allows its script alone; here it cannot ask this server either.
_REPORT_MAY = (
    "sandbox allow-scripts; default-src 'none'; img-src data:; "
    "style-src 'unsafe-inline'; script-src 'unsafe-inline'"
)
_INLINE = re.compile(r"<(script|style)>(.*?)</\1>", re.DOTALL)


def make_app(
    session: Session, trainer: Trainer, rules: guard.Rules, *, command: str
) -> Any:
    """The ASGI application.

    Args:
      command: what a person runs for the next round where the page does not.
    """

    def state() -> dict[str, Any]:
        shown = session.state()
        written = (session.folder / name for name in _REPORTS)
        report = next((path for path in written if path.is_file()), None)
        return {
            **shown,
            "training": trainer.snapshot(),
            "command": command,
            "labels": str(session.folder / "labels.csv"),
            "report": str(report or ""),
        }

    async def get_state(request: Request) -> Response:
        response = await run_in_threadpool(_answered, state)
        if request.headers.get("if-none-match") == response.headers["etag"]:
            return Response(status_code=304, headers={"ETag": response.headers["etag"]})
        return response

    async def answer(request: Request) -> Response:
        body = await request.body()

        def take() -> dict[str, Any]:
            session.answer(sessions.reply(_parsed(body)))
            trainer.arm()
            return state()

        return await run_in_threadpool(_answered, take)

    async def train(request: Request) -> Response:
        body = await request.body()

        def act() -> dict[str, Any]:
            actions = {"start": trainer.start, "hold": trainer.hold}
            fields = _parsed(body)
            name = fields.get("action") if isinstance(fields, dict) else None
            if name not in actions:
                raise RefusedError(400, f"action is one of {sorted(actions)}.")
            actions[name]()
            return state()

        return await run_in_threadpool(_answered, act)

    def image(request: Request) -> Response:
        try:
            item = session.item(request.path_params["id"])
            if not item.path:
                raise RefusedError(404, "this image is a vector without a file.")
            shown = pictures.load(item)
        except Exception as error:
            return _refusal(error)
        return Response(shown.content, media_type=shown.media_type)

    def report(request: Request) -> Response:
        path = session.folder / request.url.path.removeprefix("/")
        if not path.is_file():
            return PlainTextResponse("There is no report yet.\n", 404)
        text = path.read_text("utf-8", "replace")
        if path.suffix == ".html":
            headers = {"Content-Security-Policy": _REPORT_MAY}
            return HTMLResponse(text, headers=headers)
        return PlainTextResponse(text)

    return guard.guarded(
        Starlette(
            routes=[
                Route("/", page),
                Route("/favicon.ico", lambda _: Response(status_code=204)),
                Route("/api/state", get_state),
                Route("/api/answer", answer, methods=["POST"]),
                Route("/api/train", train, methods=["POST"]),
                Route("/image/{id}", image),
                *(Route(f"/{name}", report) for name in _REPORTS),
            ]
        ),
        rules,
    )


def page(request: Request) -> Response:
    """The page itself; only the style and the script in it may run."""
    del request
    text, policy = _page()
    headers = {"Content-Security-Policy": policy}
    return Response(text, media_type="text/html", headers=headers)


@functools.cache
def _page() -> tuple[str, str]:
    """The page, and its Content-Security-Policy."""
    files = importlib.resources.files("dact_jax.labelling")
    text = (files / _PAGE).read_text(encoding="utf-8")
    sources = [f"{kind}-src '{_hash(code)}'" for kind, code in _INLINE.findall(text)]
    rest = "img-src blob:; connect-src 'self'; base-uri 'none'; form-action 'none'"
    policy = [*sources, rest, "default-src 'none'", "frame-ancestors 'none'"]
    return text, "; ".join(policy)


def _hash(code: str) -> str:
    digest = hashlib.sha256(code.encode()).digest()
    return f"sha256-{base64.b64encode(digest).decode()}"


def _answered(work: Callable[[], dict[str, Any]]) -> Response:
    """What the work returns as JSON, or why it returned nothing."""
    try:
        return _json(work())
    except Exception as error:
        return _refusal(error)


def _refusal(error: Exception) -> Response:
    """The reason as one sentence; an error of the program itself is raised again."""
    if isinstance(error, RefusedError):
        return _json({"error": str(error)}, error.status)
    sentence = errors.sentence(error)
    if sentence is None:
        raise error
    status = 422 if isinstance(error, errors.InputError) else 500
    return _json({"error": sentence}, status)


def _json(value: Any, status: int = 200) -> Response:
    # ASCII: a lone surrogate, of a name that is not UTF-8, is kept as an escape.
    content = json.dumps(value).encode()
    tag = f'"{hashlib.sha256(content).hexdigest()[:32]}"'
    return Response(
        content, status, media_type="application/json", headers={"ETag": tag}
    )


def _parsed(body: bytes) -> Any:
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        raise RefusedError(400, "the body is not JSON.") from None
