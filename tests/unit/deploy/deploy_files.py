"""What tests of ``deploy/`` share: where it is, and how its YAML is read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]  # it ships no types

ROOT = Path(__file__).parents[3]
DEPLOY = ROOT / "deploy"

needs_checkout = pytest.mark.skipif(
    not DEPLOY.exists(), reason="needs the checkout, not an installed package"
)


def read_yaml(path: Path) -> Any:  # noqa: ANN401 - any YAML
    return yaml.safe_load(path.read_text(encoding="utf-8"))
