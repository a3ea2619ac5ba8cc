"""Who may ask the labelling page for anything: checked before each request."""

import hmac
import ipaddress
import socket
import urllib.parse
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response

MOST_BYTES = 2**16  # of a request's body
_LOCAL = ("localhost", "127.0.0.1", "::1")
# Answers hold what only this page may see; nothing may be framed, sniffed or kept.
_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-store",
}
_NOTHING = "default-src 'none'; frame-ancestors 'none'; sandbox"


class Rules(NamedTuple):
    """Whom the page answers."""

    names: frozenset[str]  # that the Host header may have, in lower case
    any_address: bool  # or any numeric address: no foreign name can stand for one
    token: str  # that a window must know; "": none
    port: int  # makes the cookie's name its own: cookies are not kept by port


def rules(host: str, token: str, port: int) -> Rules:
    """The rules of a page that listens on `host`.

    Args:
      token: empty if `is_loopback(host)`.
    """
    names = {*_LOCAL, host.lower()}
    if token:
        names |= {socket.gethostname().lower(), socket.getfqdn().lower()}
        names |= {f"{name}.local" for name in names if "." not in name}
    return Rules(frozenset(names), bool(token), token, port)


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches a host of this name."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def guarded(app: Any, rules: Rules) -> Any:
    """The ASGI application behind the rules."""

    async def check(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            await app(scope, receive, send)
            return

        async def send_with_headers(message: Any) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers[name] = value
                headers.setdefault("Content-Security-Policy", _NOTHING)
            await send(message)

        request = Request(scope, receive)
        refusal = _entrance(request, rules) or _fault(request, rules)
        await (refusal or app)(scope, receive, send_with_headers)

    return check


def _entrance(request: Request, rules: Rules) -> Response | None:
    """Takes the token out of the address: into a cookie, away from the history."""
    given = request.query_params.get("token")
    if not (rules.token and given and request.url.path == "/"):
        return None
    if _host_fault(request.headers, rules) or not _equal(given, rules.token):
        return None
    response = RedirectResponse("/", status_code=303)
    response.set_cookie(
        _cookie(rules), rules.token, httponly=True, samesite="lax", path="/"
    )
    return response


def _fault(request: Request, rules: Rules) -> Response | None:
    """The refusal of a request; None if it is let through."""
    headers = request.headers
    if fault := _host_fault(headers, rules):
        return PlainTextResponse(fault, 403)
    if rules.token and not any(
        _equal(given, rules.token) for given in _tokens(request, rules)
    ):
        return PlainTextResponse(
            "Open the address that the command printed, with its token.\n", 403
        )
    if request.method not in ("GET", "HEAD"):
        return _change_fault(headers)
    return None


def _host_fault(headers: Headers, rules: Rules) -> str:
    """Refuses other names for this machine: a foreign page may have made one up."""
    hosts = headers.getlist("host")
    name = _host_name(hosts[0]) if len(hosts) == 1 else ""
    if name in rules.names or (rules.any_address and _is_address(name)):
        return ""
    known = ", ".join(sorted(rules.names))
    return f"This page is not known by that name; its names: {known}.\n"


def _change_fault(headers: Headers) -> Response | None:
    """Refuses what a form or a script of a foreign page could send."""
    kind = headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        return PlainTextResponse("Send application/json.\n", 415)
    origins = [urllib.parse.urlsplit(o) for o in headers.getlist("origin")]
    same = len(origins) == 1 and origins[0].netloc == headers["host"]
    if not same or origins[0].scheme not in ("http", "https"):
        return PlainTextResponse("Only this page itself may send answers.\n", 403)
    length = headers.get("content-length", "")
    if not (length.isascii() and length.isdigit()):
        return PlainTextResponse("Send the length of the body.\n", 411)
    if len(length) > 9 or int(length) > MOST_BYTES:
        return PlainTextResponse("An answer is shorter.\n", 413)
    return None


def _tokens(request: Request, rules: Rules) -> Iterable[str]:
    cookies: Mapping[str, str] = request.cookies
    yield cookies.get(_cookie(rules), "")
    yield request.headers.get("authorization", "").removeprefix("Bearer ")


def _cookie(rules: Rules) -> str:
    return f"dact_label_{rules.port}"


def _equal(given: str, token: str) -> bool:
    """In constant time: how long it takes tells nothing about the token."""
    return hmac.compare_digest(given.encode("utf-8", "replace"), token.encode())


def _host_name(host: str) -> str:
    """The name in a Host header, without port and brackets; "" if it is none."""
    try:
        return urllib.parse.urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
