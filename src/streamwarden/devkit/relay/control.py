"""The relay's control API: MediaMTX's for paths and sessions, and its own for faults.

Like MediaMTX's it exposes live tokens: it is bound to loopback, and with a hook each call is asked for
there. A web page in a browser of this machine reaches loopback too: a call with a foreign Host or Origin is
refused.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import hmac
import json
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import parse_qs, unquote, urlsplit
from uuid import UUID

from streamwarden.devkit.relay.auth_hook import AccessRequest, AuthHook
from streamwarden.devkit.relay.faults import FaultAction, fault_from_json
from streamwarden.devkit.relay.hub import Hub
from streamwarden.devkit.relay.path_config import PathConfig, PathConfigs
from streamwarden.devkit.relay.rtsp import RtspCredentials
from streamwarden.devkit.relay.views import page_of, path_item, session_item, waiting_item
from streamwarden.errors import Denied, InvalidInput, NotFound

HEAD_BYTES = 16 * 1024
_BODY_BYTES = 64 * 1024
_CONNECTIONS = 64
_TIMEOUT_S = 5.0
_REASONS = {
    200: "OK",
    400: "Bad Request",
    401: "Unauthorized",
    403: "Forbidden",
    404: "Not Found",
    503: "Service Unavailable",
}
_OWN_HOSTS = frozenset({"127.0.0.1", "localhost", "::1"})


@dataclass(frozen=True, slots=True)
class Call:
    """One request: the name in its path, its query, its JSON body, and whether there was a body."""

    name: str
    query: Mapping[str, Sequence[str]]
    body: Mapping[str, object]
    has_body: bool


_Handler = Callable[[Call], Awaitable[object]]
_Change = Callable[[PathConfigs, str, Mapping[str, object]], PathConfig]
_CHANGES: Sequence[tuple[str, str, _Change]] = (
    ("POST", "add", PathConfigs.add),
    ("PATCH", "patch", PathConfigs.patch),
    ("POST", "replace", PathConfigs.replace),
)


class _Unauthorized(Exception):
    pass


class ControlApi:
    """Answers one request per connection. ``accept`` and ``refuse`` open and close the RTSP listener.

    With ``hook`` a call needs a credential that the hook accepts, or ``token``, which the parent process
    gave. The routes below ``/devkit`` need ``token``: tests use them also while the hook does not answer.
    With neither, everybody may call.
    """

    def __init__(
        self,
        hub: Hub,
        *,
        accept: Callable[[], Awaitable[None]],
        refuse: Callable[[], Awaitable[None]],
        hook: AuthHook | None = None,
        token: str | None = None,
    ) -> None:
        self._hook = hook
        self._token = token
        self._hub = hub
        self._accept = accept
        self._refuse = refuse
        self._open = 0
        self._routes: Sequence[tuple[str, re.Pattern[str], _Handler]] = [
            ("GET", re.compile(r"/v3/paths/list()"), self._list_paths),
            ("GET", re.compile(r"/v3/paths/get/(.+)"), self._get_path),
            ("GET", re.compile(r"/v3/config/paths/list()"), self._list_configs),
            ("GET", re.compile(r"/v3/config/paths/get/(.*)"), self._get_config),
            *(
                (method, re.compile(rf"/v3/config/paths/{verb}/(.*)"), self._configure(change))
                for method, verb, change in _CHANGES
            ),
            ("DELETE", re.compile(r"/v3/config/paths/delete/(.*)"), self._delete_config),
            ("GET", re.compile(r"/v3/rtspsessions/list()"), self._list_sessions),
            ("GET", re.compile(r"/v3/rtspsessions/get/([^/]+)"), self._get_session),
            ("POST", re.compile(r"/v3/rtspsessions/kick/([^/]+)"), self._kick),
            ("GET", re.compile(r"/devkit/faults()"), self._list_faults),
            ("POST", re.compile(r"/devkit/faults(?:/(.+))?"), self._set_fault),
            ("DELETE", re.compile(r"/devkit/faults(?:/(.+))?"), self._clear_fault),
            ("POST", re.compile(r"/devkit/listener()"), self._set_listener),
        ]

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer the one request of a connection, within a few seconds."""
        self._open += 1
        try:
            async with asyncio.timeout(_TIMEOUT_S):
                if self._open > _CONNECTIONS:
                    writer.write(_encode(503, _error("too many connections")))
                else:
                    writer.write(await self._answer(reader))
                await writer.drain()
        except (OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            writer.transport.abort()  # a client that sent no request or did not read
        finally:
            self._open -= 1
            writer.close()

    async def _answer(self, reader: asyncio.StreamReader) -> bytes:
        try:
            return _encode(200, await self._dispatch(reader))
        except InvalidInput as error:
            return _encode(400, _error(f"{error.field}: {error}" if error.field else str(error)))
        except _Unauthorized:
            return _encode(401, _error("authentication error"))
        except Denied as error:
            return _encode(403, _error(str(error)))
        except NotFound as error:
            return _encode(404, _error(str(error)))

    async def _dispatch(self, reader: asyncio.StreamReader) -> object:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        words = head[0].split(" ")
        if len(words) != 3:  # noqa: PLR2004 - method, target, version
            raise InvalidInput("not an HTTP request")
        headers = _headers(head[1:])
        path, _, query = words[1].partition("?")
        await self._check(path, headers)
        body = await _body(reader, headers)
        for method, pattern, handler in self._routes:
            if method == words[0] and (found := pattern.fullmatch(path)):
                name = unquote(found[1] or "")
                return await handler(Call(name, parse_qs(query), body or {}, body is not None))
        raise NotFound("no such call")

    async def _check(self, path: str, headers: Mapping[str, str]) -> None:
        if _foreign(headers):
            raise Denied("a foreign Host or Origin")
        if self._hook is None and self._token is None:
            return
        shown = _credentials(headers.get("authorization", ""))
        given = shown.token or shown.password
        if self._token and hmac.compare_digest(given.encode(), self._token.encode()):
            return
        if self._hook is not None and not path.startswith("/devkit/"):
            access = AccessRequest("127.0.0.1", shown, "api", "", None, "", "")
            if await self._hook.allows(access):
                return
        raise _Unauthorized

    async def _list_paths(self, call: Call) -> object:
        names = sorted({*self._hub.streams, *self._hub.pulls})
        return page_of([self._path(name) for name in names], call.query)

    async def _get_path(self, call: Call) -> object:
        return self._path(call.name)

    def _path(self, name: str) -> dict[str, object]:
        stream, pulled = self._hub.streams.get(name), name in self._hub.pulls
        if stream is not None:
            return path_item(stream, pulled=pulled)
        if not pulled:
            raise NotFound("path not found")
        return waiting_item(name)

    async def _list_configs(self, call: Call) -> object:
        return page_of([config.to_json() for config in self._hub.configs.all()], call.query)

    async def _get_config(self, call: Call) -> object:
        return self._hub.configs.show(call.name).to_json()

    def _configure(self, change: _Change) -> _Handler:
        async def configure(call: Call) -> object:
            if not call.has_body:
                raise InvalidInput("unexpected end of JSON input")
            change(self._hub.configs, call.name, call.body)
            self._hub.configured(call.name)
            return {"status": "ok"}

        return configure

    async def _delete_config(self, call: Call) -> object:
        self._hub.configs.delete(call.name)
        self._hub.configured(call.name)
        return {"status": "ok"}

    async def _list_sessions(self, call: Call) -> object:
        return page_of([session_item(one) for one in self._hub.sessions()], call.query)

    async def _get_session(self, call: Call) -> object:
        wanted = _uuid(call.name)
        for session in self._hub.sessions():
            if session.id == wanted:
                return session_item(session)
        raise NotFound("session not found")

    async def _kick(self, call: Call) -> object:
        if not self._hub.kick(_uuid(call.name)):
            raise NotFound("session not found")
        return {"status": "ok"}

    async def _list_faults(self, _: Call) -> object:
        return self._hub.faults.to_json()

    async def _set_fault(self, call: Call) -> object:
        """Set the fault in the body; its ``actions`` are carried out after that."""
        path = call.name or None
        body = dict(call.body)
        actions = _actions(body.pop("actions", []))
        if body or not actions:
            self._hub.faults.set(path, fault_from_json(body))
        return {"status": "ok", "hit": sum(self._hub.act(path, action) for action in actions)}

    async def _clear_fault(self, call: Call) -> object:
        self._hub.faults.clear(call.name or None)
        return {"status": "ok"}

    async def _set_listener(self, call: Call) -> object:
        match call.body.get("accepting"):
            case True:
                await self._accept()
            case False:
                await self._refuse()
            case _:
                raise InvalidInput("must be true or false", field="accepting")
        return {"status": "ok"}


def _headers(lines: Sequence[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for line in lines:
        name, _, value = line.partition(":")
        found.setdefault(name.strip().lower(), value.strip())
    return found


def _foreign(headers: Mapping[str, str]) -> bool:
    """Return whether a page of another origin calls, or one whose name was made to lead here."""
    if "origin" in headers:
        return True
    try:
        return urlsplit(f"//{headers.get('host', 'localhost')}").hostname not in _OWN_HOSTS
    except ValueError:
        return True


def _credentials(authorization: str) -> RtspCredentials:
    scheme, _, value = authorization.partition(" ")
    if scheme.lower() == "bearer":
        return RtspCredentials(token=value.strip())
    if scheme.lower() != "basic":
        return RtspCredentials()
    try:
        user, _, password = base64.b64decode(value.strip()).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        return RtspCredentials()
    return RtspCredentials(user, password)


async def _body(
    reader: asyncio.StreamReader, headers: Mapping[str, str]
) -> Mapping[str, object] | None:
    value = headers.get("content-length", "")
    length = int(value) if re.fullmatch(r"[0-9]{1,9}", value) else 0
    if length > _BODY_BYTES:
        raise InvalidInput("the body is too large")
    if length == 0:
        return None
    try:
        body = json.loads(await reader.readexactly(length))
    except ValueError as error:
        raise InvalidInput("the body is not JSON") from error
    if not isinstance(body, dict):
        raise InvalidInput("the body is not an object")
    return body


def _actions(value: object) -> list[FaultAction]:
    if not isinstance(value, list):
        raise InvalidInput("must be a list", field="actions")
    try:
        return [FaultAction(str(item)) for item in value]
    except ValueError as error:
        raise InvalidInput(str(error), field="actions") from error


def _uuid(text: str) -> UUID:
    try:
        return UUID(text)
    except ValueError as error:
        raise InvalidInput("not an id") from error


def _error(detail: str) -> dict[str, str]:
    return {"status": "error", "error": detail}


def _encode(status: int, body: object) -> bytes:
    payload = json.dumps(body).encode()
    head = (
        f"HTTP/1.1 {status} {_REASONS[status]}\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(payload)}\r\nConnection: close\r\n\r\n"
    )
    return head.encode() + payload
