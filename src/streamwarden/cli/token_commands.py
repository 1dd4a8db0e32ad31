"""``streamwarden token`` and ``sign-in``: sign tokens for users, players and cameras."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING

from streamwarden.cli.arguments import add_command, add_group, camera_id, whole_number
from streamwarden.cli.camera_commands import check_path, existing_camera
from streamwarden.cli.environment import open_database, settings_of
from streamwarden.cli.output import print_json, print_line, print_note
from streamwarden.clock import Clock, rfc3339

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterable
    from datetime import datetime

    from streamwarden.auth.keys import SignedToken
    from streamwarden.auth.stream_tokens import StreamTokens
    from streamwarden.cli.arguments import Commands
    from streamwarden.config.settings import Settings

_HOUR_S, _DAY_S = 3600, 86400

_SIGN_IN_NOTES = """\
The link is printed on standard output and signs in whoever opens it, until it ends: hand it over like a
password. It needs USER_JWT_SECRET; with USER_JWKS_URL users sign in by your identity provider. PAGE_URL is
the page as browsers reach it.

example:
  streamwarden sign-in --sub alice --role admin
"""

_MEDIA_SERVER_NOTES = """\
Prometheus and curl send it as Bearer token. It follows from INTERNAL_TOKEN, the first where there are two:
print it again after INTERNAL_TOKEN was changed. It opens the control API too, so keep it like a password.

example:
  streamwarden token media-server > /etc/prometheus/mediamtx.token
  curl -H "Authorization: Bearer $(streamwarden token media-server)" http://127.0.0.1:9997/v3/paths/list
"""


def add_token_commands(commands: Commands) -> None:
    """Add ``token user``, ``token read``, ``token publish`` and ``token media-server``."""
    token = add_group(commands, "token", "sign a token")
    user = add_command(token, "user", token_user, "sign a user's token for the API")
    user.add_argument("--sub", required=True, metavar="ID", help="the user's id")
    user.add_argument("--role", action="append", default=[], help="such as admin; repeatable")
    _add_ttl(user, _HOUR_S)
    read = add_command(token, "read", token_read, "sign a token to watch a camera over RTSP")
    _add_stream_options(read, _HOUR_S)
    publish = add_command(
        token, "publish", token_publish, "sign a token for a camera to publish with"
    )
    _add_stream_options(publish, _DAY_S)
    add_command(
        token,
        "media-server",
        token_media_server,
        "print the secret of MediaMTX's control API and metrics",
        _MEDIA_SERVER_NOTES,
    )


def add_sign_in_command(commands: Commands) -> None:
    """Add ``sign-in``."""
    parser = add_command(
        commands, "sign-in", sign_in, "print a link that opens the page, signed in", _SIGN_IN_NOTES
    )
    parser.add_argument("--sub", required=True, metavar="ID", help="the user's id")
    parser.add_argument("--role", action="append", default=[], help="such as admin; repeatable")
    _add_ttl(parser, 12 * _HOUR_S)


def sign_in(arguments: argparse.Namespace) -> int:
    """Print the page's link with a user's token in its fragment, which browsers send to no server."""
    from streamwarden.config.settings import reachable
    from streamwarden.errors import ConfigError

    settings = settings_of(arguments)
    if settings.user_jwks_url is not None:
        raise ConfigError(
            "STREAMWARDEN_USER_JWKS_URL is set: users sign in by your identity provider, and no token of "
            "this program is accepted"
        )
    issued = sign_user(settings, sub=arguments.sub, roles=arguments.role, ttl_s=arguments.ttl)
    page = settings.page_url or f"http://{reachable(settings.host)}:{settings.webui_port}"
    link = f"{page.rstrip('/')}/#token={issued.token}"
    if arguments.json:
        print_json({"sign_in_url": link, "expires_at": rfc3339(issued.expires_at)})
    else:
        print_line(link)
        print_note(f"valid until {issued.expires_at.astimezone():%Y-%m-%d %H:%M %Z}")
    return 0


def _add_stream_options(parser: argparse.ArgumentParser, ttl_s: int) -> None:
    where = parser.add_mutually_exclusive_group(required=True)
    where.add_argument(
        "--camera", type=camera_id, metavar="ID", help="the camera; its path is read from Postgres"
    )
    where.add_argument("--path", metavar="P", help="the path on the media server")
    parser.add_argument(
        "--sub",
        default="operator",
        metavar="ID",
        help="the user in whose name it is signed (default: operator)",
    )
    _add_ttl(parser, ttl_s)


def _add_ttl(parser: argparse.ArgumentParser, default_s: int) -> None:
    parser.add_argument(
        "--ttl",
        type=whole_number(1, 366 * _DAY_S),
        default=default_s,
        metavar="S",
        help=f"lifetime in seconds (default: {default_s})",
    )


def token_user(arguments: argparse.Namespace) -> int:
    """Print a user's token."""
    issued = sign_user(
        settings_of(arguments), sub=arguments.sub, roles=arguments.role, ttl_s=arguments.ttl
    )
    return _print_token(arguments, issued)


def token_read(arguments: argparse.Namespace) -> int:
    """Print a token, or its URL, to watch one camera with."""
    settings = settings_of(arguments)
    path = _path(settings, arguments)
    signed = _stream_tokens(settings).sign_view(
        arguments.sub, path, ttl_s=arguments.ttl, asked_at=Clock().now()
    )
    return _print_token(arguments, _with_url(settings, signed, path))


def token_publish(arguments: argparse.Namespace) -> int:
    """Print a token, or its URL, for one camera to publish with."""
    settings = settings_of(arguments)
    path = _path(settings, arguments)
    signed = _stream_tokens(settings).sign_publish(
        arguments.sub, path, ttl_s=arguments.ttl, asked_at=Clock().now()
    )
    return _print_token(arguments, _with_url(settings, signed, path))


def token_media_server(arguments: argparse.Namespace) -> int:
    """Print the secret that the hook wants for MediaMTX's own interfaces."""
    from streamwarden.mediamtx.control_secret import control_secret

    secret = control_secret(settings_of(arguments).secret("internal_token"))
    if arguments.json:
        print_json({"token": secret})
    else:
        print_line(secret)
    return 0


@dataclass(frozen=True, slots=True, kw_only=True)
class IssuedToken:
    """A signed token, and the URL that contains it, where there is one."""

    token: str = field(repr=False)
    expires_at: datetime
    url: str | None = field(default=None, repr=False)


def sign_user(settings: Settings, *, sub: str, roles: Iterable[str], ttl_s: int) -> IssuedToken:
    """Sign a token with which ``sub`` calls the API, as the identity provider would."""
    from streamwarden.auth.users import UserTokens

    clock = Clock()
    tokens = UserTokens(
        settings.secret("user_jwt_secret"),
        audience=settings.user_jwt_audience,
        roles_claim=settings.user_roles_claim,
        issuer=settings.user_jwt_issuer,
        clock=clock,
    )
    token = tokens.sign(sub, roles=roles, ttl_s=ttl_s)
    return IssuedToken(token=token, expires_at=clock.now() + timedelta(seconds=ttl_s))


def _path(settings: Settings, arguments: argparse.Namespace) -> str:
    path: str = arguments.path
    if arguments.camera is not None:
        with open_database(settings) as database:
            path = existing_camera(database, arguments.camera).path
    check_path(path)
    return path


def _stream_tokens(settings: Settings) -> StreamTokens:
    from streamwarden.auth.keys import parse_keys
    from streamwarden.auth.stream_tokens import StreamTokens

    return StreamTokens(parse_keys(settings.secret("stream_token_keys")), Clock())


def _with_url(settings: Settings, signed: SignedToken, path: str) -> IssuedToken:
    from streamwarden.auth.rtsp_urls import publish_url

    url = publish_url(settings.rtsp_publish_url, path, signed.token)
    return IssuedToken(token=signed.token, expires_at=signed.expires_at, url=url)


def _print_token(arguments: argparse.Namespace, issued: IssuedToken) -> int:
    if arguments.json:
        shown = {"token": issued.token, "expires_at": rfc3339(issued.expires_at)}
        print_json(shown | ({"url": issued.url} if issued.url else {}))
    else:
        print_line(issued.url or issued.token)
    return 0
