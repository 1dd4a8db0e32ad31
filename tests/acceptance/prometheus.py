"""A real Prometheus with the repository's rules, scraping what a test has started."""

from __future__ import annotations

import math
import shutil
import signal
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.acceptance.calls import Caller
from tests.acceptance.program import clean_environment, free_port_base
from tests.acceptance.waiting import PATIENCE_S, wait_for
from tests.unit.deploy.dashboards import PROMETHEUS as RULES

PROGRAM = shutil.which("prometheus")
_OURS = {"127.0.0.1:8080": "webui", "127.0.0.1:8081": "api", "127.0.0.1:8082": "streaming"}


class Prometheus:
    """Asks a running one."""

    def __init__(self, base: str) -> None:
        self._caller = Caller(base)

    def ready(self) -> bool:
        """Whether it answers queries."""
        try:
            return self._caller.get("/-/ready").status == 200
        except OSError:
            return False

    def names(self) -> set[str]:
        """Return the name of every metric that there are series of."""
        return set(self._ask("/api/v1/label/__name__/values", {}))

    def values(self, expr: str) -> list[float]:
        """Return what an instant query gives; an error in it fails the test."""
        found = self._ask("/api/v1/query", {"query": expr})
        assert found["resultType"] in {"vector", "scalar"}, expr
        if found["resultType"] == "scalar":
            return [float(found["result"][1])]
        return [float(sample["value"][1]) for sample in found["result"]]

    def shows(self, expr: str) -> bool:
        """Whether a query gives at least one metric_value that can be drawn."""
        return any(not math.isnan(value) for value in self.values(expr))

    def _ask(self, path: str, query: Mapping[str, object]) -> Any:  # noqa: ANN401 - any JSON
        answer = self._caller.get(path, query)
        assert answer.status == 200, (query, answer.body)
        return answer.json()["data"]


@contextmanager
def prometheus(folder: Path, ready: Mapping[str, Any]) -> Iterator[Prometheus]:
    """Run one over the roles that a demo's READY line names, with a second between two scrapes."""
    config = _configured(folder / "prometheus", ready)
    base = f"127.0.0.1:{free_port_base()}"
    command = [
        "setpriv", "--pdeathsig", "TERM", "--", str(PROGRAM), f"--config.file={config}",
        f"--storage.tsdb.path={config.parent / 'data'}", f"--web.listen-address={base}",
    ]  # fmt: skip
    with (config.parent / "log").open("wb") as log:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=clean_environment()
        )
    asked = Prometheus(f"http://{base}")

    def up() -> bool:
        assert process.poll() is None, (config.parent / "log").read_text()
        return asked.ready()

    try:
        wait_for("a Prometheus that is ready", up)
        yield asked
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(PATIENCE_S)


def _configured(folder: Path, ready: Mapping[str, Any]) -> Path:
    """Copy the repository's configuration: the same rules and jobs, other ports, more often."""
    folder.mkdir()
    for source in (RULES / "prometheus.yml", RULES / "recording.yml", RULES / "alerts.yml"):
        text = source.read_text(encoding="utf-8").replace("interval: 15s", "interval: 1s")
        text = text.replace("interval: 30s", "interval: 1s")
        for target, role in _OURS.items():
            text = text.replace(target, str(ready[role]).removeprefix("http://"))
        (folder / source.name).write_text(text, encoding="utf-8")
    return folder / "prometheus.yml"
