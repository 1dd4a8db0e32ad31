"""What outsiders rely on: documents, help, settings, metrics, events and codes are as they are kept."""

from __future__ import annotations

import argparse
import ast
import importlib
import json
import pkgutil
import re
import socket
from collections.abc import Iterator, Mapping
from http import HTTPStatus
from pathlib import Path
from typing import Any, cast

import pytest
from falcon import testing
from prometheus_client import CollectorRegistry, Histogram
from prometheus_client.metrics import MetricWrapperBase
from prometheus_client.registry import Collector

import streamwarden
from streamwarden.actors.messages import RecorderState
from streamwarden.auth.rtsp_urls import RtspTargets
from streamwarden.cli.main import build_parser, main
from streamwarden.config.settings import Settings, describe, load, needed_by
from streamwarden.errors import StreamwardenError
from streamwarden.http.problems import Problem
from streamwarden.http.streaming.streaming_app import create_streaming_app
from streamwarden.http.webui.proxy import ApiProxy
from streamwarden.http.webui.webui_app import PageConfig, create_webui_app, load_assets
from streamwarden.metrics.api_metrics import AccessMetrics, AuthMetrics, SourceMetrics
from streamwarden.metrics.http_metrics import HttpMetrics, new_registry
from streamwarden.metrics.recording_metrics import RecordingMetrics
from streamwarden.model import Cause
from streamwarden.recordings.serving import IndexedFiles
from tests.fakes.http import FakeGateway, FakeIndex
from tests.fakes.ops import FakeOps
from tests.fakes.play import FakeExports, FakePictures, a_live_index
from tests.golden.stored import FOLDER, same_as_stored
from tests.unit.http.conftest import ApiHarness

SOURCE = Path(streamwarden.__file__).parent


def as_json(value: object) -> str:
    return json.dumps(value, indent=1, ensure_ascii=False) + "\n"


def as_lines(lines: Iterator[str]) -> str:
    return "".join(f"{line}\n" for line in sorted(set(lines)))


# What HTTP speaks


def document_of(client: testing.TestClient) -> str:
    """The document as it is served, in its order, over many lines and without the release's number."""
    found: dict[str, Any] = json.loads(client.simulate_get("/openapi.json").text)
    found["info"]["version"] = "VERSION"
    return in_words_of_rfc_9110(as_json(found))


def test_the_document_of_the_api_is_as_released() -> None:
    same_as_stored("openapi-api.json", document_of(testing.TestClient(ApiHarness().api.app)))


def test_the_document_of_the_internal_api_is_as_released() -> None:
    same_as_stored(
        "openapi-internal.json", document_of(testing.TestClient(ApiHarness().internal.app))
    )


def test_the_document_of_the_streaming_role_is_as_released() -> None:
    app = create_streaming_app(
        ApiHarness().shared,
        gateway=FakeGateway(),
        files=IndexedFiles(FakeIndex(), Path("/nowhere")),
        live=a_live_index(),
        pictures=FakePictures(),
        exports=FakeExports(),
        ops=FakeOps(),
        rtsp_targets=RtspTargets("rtsp://media:8554"),
    )
    same_as_stored("openapi-streaming.json", document_of(testing.TestClient(app)))


def test_the_document_of_the_web_ui_is_as_released(tmp_path: Path) -> None:
    (tmp_path / "index.html").write_text("a page")
    app = create_webui_app(
        ApiHarness().shared,
        api=cast("ApiProxy", None),  # nothing is passed on here
        assets=load_assets(tmp_path),
        config=PageConfig(whep_url=None, roles_claim="roles"),
    )
    client = testing.TestClient(app)
    same_as_stored("openapi-webui.json", document_of(client))


def every_error() -> Iterator[type[StreamwardenError]]:
    """Every error of the program: all of its modules are loaded for it, whatever they are called."""
    for module in pkgutil.walk_packages(streamwarden.__path__, f"{streamwarden.__name__}."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    waiting: list[type[StreamwardenError]] = [StreamwardenError]
    while waiting:
        kind = waiting.pop()
        waiting += kind.__subclasses__()
        if kind.__module__.startswith(f"{streamwarden.__name__}."):
            yield kind


def code_of(kind: type[StreamwardenError]) -> str:
    """Its code, and the status and title that HTTP tells of it, if it does."""
    error = kind.__new__(kind)  # each has arguments of its own
    vars(error).update(field=None, retry_after_s=5)
    problem = Problem.of_error(error)
    return f"{kind.code} -" if problem is None else shown_problem(problem)


def shown_problem(problem: Problem) -> str:
    return f"{problem.code} {problem.status} {in_words_of_rfc_9110(problem.title)}"


def in_words_of_rfc_9110(text: str) -> str:
    """Python before 3.13 has the phrases of RFC 7231 for two statuses."""
    text = text.replace("Request Entity Too Large", "Content Too Large")
    return text.replace("Requested Range Not Satisfiable", "Range Not Satisfiable")


def test_the_codes_of_errors_are_as_released() -> None:
    statuses = (Problem.of_status(status) for status in HTTPStatus if status >= 400)
    codes = [*map(code_of, every_error()), *map(shown_problem, statuses)]
    same_as_stored("error-codes.txt", as_lines(iter(codes)))


# What people type, and what they read


def helps(parser: argparse.ArgumentParser) -> Iterator[str]:
    """The help of a command and of all below it."""
    head, epilog, _ = parser.format_help().partition((parser.epilog or "\0").rstrip())
    usage, _, options = head.partition("\n\n")
    yield f"===== {parser.prog} --help\n\n{one_line(usage)}\n\n{unaligned(options)}{epilog}".rstrip()
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for below in action.choices.values():
                yield from helps(below)


def one_line(text: str) -> str:
    return " ".join(text.split())


def unaligned(options: str) -> str:
    """Where argparse breaks lines and puts columns is its affair, and not the same in all versions."""
    joined = re.sub(r"\n {10,}(?=\S)", " ", options)
    return re.sub(r"(?<=\S) +(?=\S)", " ", joined)


def test_the_help_of_every_command_is_as_released(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.delenv("FORCE_COLOR", raising=False)
    same_as_stored("help.txt", "\n\n".join(helps(build_parser())) + "\n")


ENVIRONMENT: Mapping[str, str] = {
    "DATABASE_URL": "postgresql://user:geheim@host/name?sslpassword=geheim",
    "STREAMWARDEN_RECORD_ROOT": "/srv/recordings",
    "STREAMWARDEN_INTERNAL_TOKEN": "internal-token-of-at-least-32-geheim",
    "STREAMWARDEN_USER_JWT_SECRET": "users-secret-of-at-least-32-bytes-geheim",
    "STREAMWARDEN_STREAM_TOKEN_KEYS": "k1:stream-key-of-at-least-32-bytes-geheim",
    "STREAMWARDEN_RTSP_PUBLISH_URL": "rtsp://cameras.example.org:8554",
    "STREAMWARDEN_TRUSTED_PROXIES": "10.0.0.0/8,192.0.2.7",
    "STREAMWARDEN_SOURCE_NETWORKS": "192.0.2.0/24,camera.example.org",
    "STREAMWARDEN_MEDIAMTX_API_URL": "http://media:9997",
    "STREAMWARDEN_STALL_AFTER": "12s",
    "STREAMWARDEN_FREE_SPACE_RESERVE": "10GB",
    "STREAMWARDEN_TOTAL_QUOTA": "2TB",
    "STREAMWARDEN_NODE": "node-1",
}
CONFIG = """\
port_base = 9000
host = "192.0.2.1"
retention_days = 7
node = "gives way to the environment"
"""


@pytest.mark.parametrize(
    ("name", "options"), [("check-config.txt", []), ("check-config.json", ["--json"])]
)
def test_what_check_config_prints_is_as_released(
    name: str,
    options: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for variable in describe(load(None, {})):
        monkeypatch.delenv(variable, raising=False)
    for variable, value in ENVIRONMENT.items():
        monkeypatch.setenv(variable, value)
    file = tmp_path / "streamwarden.toml"
    file.write_text(CONFIG)
    assert main(["check-config", "--config", str(file), *options]) == 0
    printed = capsys.readouterr()
    assert "geheim" not in printed.out + printed.err
    same_as_stored(name, printed.out)
    same_as_stored("check-config.stderr.txt", printed.err)


def test_the_settings_and_their_defaults_are_as_released() -> None:
    roles = ("api", "streaming", "webui")
    found: dict[str, object] = {}
    shown = describe(load(None, {}))
    for (variable, described), name in zip(shown.items(), Settings.model_fields, strict=True):
        by_host = Settings.model_fields[name].default_factory is socket.gethostname
        found[variable] = {
            "in_file": name,
            "default": "(the host's name)" if by_host else described["value"],
            "needed_by": [role for role in roles if name in needed_by([role])],
        }
    same_as_stored("settings.json", as_json(found))


# What watches the program


def labels_of(collector: Collector, metric: Any) -> tuple[str, ...]:  # noqa: ANN401 - untyped there
    if isinstance(collector, MetricWrapperBase):
        return tuple(collector._labelnames)
    return tuple(sorted({label for sample in metric.samples for label in sample.labels}))


def metrics_of(role: str, registry: CollectorRegistry) -> Iterator[str]:
    """Role, name, type, labels and, of a histogram, the bounds of what a registry collects."""
    for collector in set(registry._collector_to_names):
        for metric in collector.collect():
            name = f"{metric.name}_total" if metric.type == "counter" else metric.name
            labels = ",".join(labels_of(collector, metric)) or "-"
            bounds = ""
            if isinstance(collector, Histogram):
                bounds = " " + ",".join(f"{bound:g}" for bound in collector._kwargs["buckets"])
            yield f"{role} {name} {metric.type} {labels}{bounds}"


def api_metrics() -> CollectorRegistry:
    registry = new_registry()
    for kind in (HttpMetrics, AuthMetrics, AccessMetrics, SourceMetrics):
        kind(registry)
    return registry


def streaming_metrics() -> CollectorRegistry:
    registry = new_registry()
    HttpMetrics(registry)
    recording = RecordingMetrics(registry)
    recording.sealing()
    recording.state("camera", "running")
    recording.watch_inboxes(lambda: {"recorder": 1})
    recording.watch_ffmpeg(lambda: (1.0, 1))
    recording.watch_index(lambda: (1, 1.0))
    return registry


def web_ui_metrics() -> CollectorRegistry:
    registry = new_registry()
    HttpMetrics(registry)
    return registry


def test_the_metrics_of_each_role_are_as_released() -> None:
    lines = [
        *metrics_of("api", api_metrics()),
        *metrics_of("streaming", streaming_metrics()),
        *metrics_of("webui", web_ui_metrics()),
    ]
    same_as_stored("metrics.txt", as_lines(iter(lines)))


def test_the_causes_and_states_are_as_released() -> None:
    causes = (f"cause {cause}" for cause in Cause)
    states = (f"state {state}" for state in RecorderState)
    same_as_stored("causes-and-states.txt", as_lines(iter([*causes, *states])))


LEVELS = frozenset({"debug", "info", "warning", "error", "exception", "critical"})
LOGGER = re.compile(r"(^|[._])log(ger)?$|get_logger\(|\.bind\(", re.IGNORECASE)


def is_level(node: ast.AST) -> bool:
    """Whether this is a level of a logger, such as ``self._log.warning``."""
    return (
        isinstance(node, ast.Attribute)
        and node.attr in LEVELS
        and LOGGER.search(ast.unparse(node.value)) is not None
    )


def said_in(tree: ast.Module) -> Iterator[ast.expr]:
    """The first argument of every call that logs, also by a name that a level was given to."""
    for scope in ast.walk(tree):
        if isinstance(scope, ast.FunctionDef):
            names = levels_named_in(scope)
            for node in ast.walk(scope):
                if isinstance(node, ast.Call) and node.args:
                    by_name = isinstance(node.func, ast.Name) and node.func.id in names
                    if by_name or is_level(node.func):
                        yield node.args[0]


def levels_named_in(function: ast.FunctionDef) -> set[str]:
    """Names such as ``write`` after ``write = log.info if good else log.error``."""
    return {
        target.id
        for node in ast.walk(function)
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.IfExp)
        if is_level(node.value.body) and is_level(node.value.orelse)
        for target in node.targets
        if isinstance(target, ast.Name)
    }


def texts_of(said: ast.expr) -> Iterator[str | ast.Attribute]:
    match said:
        case ast.Constant(value=str(text)):
            yield text
        case ast.IfExp():
            yield from texts_of(said.body)
            yield from texts_of(said.orelse)
        case ast.Attribute():
            yield said
        case _:
            raise AssertionError(f"what is logged here? {ast.unparse(said)}")


def handed_on(trees: list[ast.Module], fields: frozenset[str]) -> Iterator[str]:
    """The texts of calls that fill all of these fields: events that are logged elsewhere."""
    for tree in trees:
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and fields <= {word.arg for word in node.keywords}:
                yield from (
                    word.value.value
                    for word in node.keywords
                    if word.arg in fields
                    and isinstance(word.value, ast.Constant)
                    and isinstance(word.value.value, str)
                )


def test_the_events_in_the_log_are_as_released() -> None:
    trees = [ast.parse(path.read_text(encoding="utf-8")) for path in SOURCE.rglob("*.py")]
    found = [text for tree in trees for said in said_in(tree) for text in texts_of(said)]
    fields = frozenset(text.attr for text in found if isinstance(text, ast.Attribute))
    events = [text for text in found if isinstance(text, str)]
    if fields:
        events += (elsewhere := list(handed_on(trees, fields)))
        assert len(elsewhere) >= len(fields)
    same_as_stored("log-events.txt", as_lines(iter(events)))


# The files themselves


def test_every_golden_file_is_compared_with_something() -> None:
    tests = Path(__file__).parents[1].rglob("test_golden*.py")
    text = "\n".join(path.read_text(encoding="utf-8") for path in tests)
    kept = [path.name for path in FOLDER.iterdir() if path.is_file() and path.suffix != ".py"]
    assert [name for name in sorted(kept) if name not in text] == []
