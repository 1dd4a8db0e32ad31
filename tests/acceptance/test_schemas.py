"""schemathesis asks every operation of every role what its OpenAPI document allows, and what not.

No answer is 5xx but the 503 that is documented, and every one is of a status, a type and a shape that
the document names.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.core.failures import FailureGroup
from schemathesis.core.result import Ok
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from streamwarden.devkit.postgres import EmbeddedPostgres
from tests.acceptance.configured_installation import ConfiguredInstallation
from tests.acceptance.conftest import DATABASE_PASSWORD
from tests.acceptance.installation import database_with_password
from tests.acceptance.program import programs
from tests.acceptance.waiting import PATIENCE_S

EXAMPLES = {"admin": 12, "internal": 12, "stranger": 4}
"""For each operation, half of them of what the document forbids."""
CONFORMS = (status_code_conformance, content_type_conformance, response_schema_conformance)
ASKED = (
    *(("api", "admin"), ("api", "stranger")),
    *(("streaming", "internal"), ("streaming", "stranger")),
    *(("internal", "internal"), ("internal", "stranger")),
)

pytestmark = pytest.mark.filterwarnings("default")  # schemathesis's own are not ours to mend


@pytest.fixture(scope="module")
def site(
    tmp_path_factory: pytest.TempPathFactory, postgres_server: EmbeddedPostgres, ffmpeg: str
) -> Iterator[ConfiguredInstallation]:
    folder = tmp_path_factory.mktemp("schemas")
    url = database_with_password(postgres_server, DATABASE_PASSWORD)
    with programs(folder) as make:
        installation = ConfiguredInstallation(
            folder, make, database_url=url, ffmpeg=ffmpeg, changed={}
        )
        try:
            installation.start()
            yield installation
        finally:
            installation.close()


def credentials(site: ConfiguredInstallation, role: str, who: str) -> Mapping[str, str]:
    if who == "internal":
        return {"X-Internal-Token": site.internal_token}
    if role in {"streaming", "internal"}:
        return {"X-Internal-Token": "wrong"}
    return site.admin.headers if who == "admin" else site.user("stranger").headers


@pytest.mark.parametrize(("role", "who"), ASKED)
def test_every_answer_is_one_that_the_document_names(
    site: ConfiguredInstallation, role: str, who: str
) -> None:
    base = str(getattr(site, f"{role}_url"))
    schema = schemathesis.openapi.from_url(f"{base}/openapi.json")
    headers, asked, wrong = credentials(site, role, who), 0, list[str]()
    with requests.Session() as session:
        for result in schema.get_all_operations():
            assert isinstance(result, Ok), result
            for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE):
                try:
                    asked += _ask(result.ok(), mode, session, headers, EXAMPLES[who] // 2)
                except FailureGroup as group:
                    wrong += [f"{result.ok().label}: {each}" for each in group.exceptions]
    assert not wrong, "\n\n".join(wrong)
    assert asked > EXAMPLES[who]
    assert site.api.process.poll() is None
    assert site.streaming.process.poll() is None
    for program in (site.api, site.streaming):
        assert not program.events("request_failed")


def _ask(
    operation: Any,  # noqa: ANN401 - schemathesis's own, without a public type parameter
    mode: GenerationMode,
    session: requests.Session,
    headers: Mapping[str, str],
    examples: int,
) -> int:
    asked = 0

    @settings(
        max_examples=examples,
        deadline=None,
        database=None,
        derandomize=True,
        phases=(Phase.explicit, Phase.generate),
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy(generation_mode=mode))
    def ask(case: Any) -> None:  # noqa: ANN401 - likewise
        nonlocal asked
        response = case.call(session=session, headers=dict(headers), timeout=PATIENCE_S)
        asked += 1
        if response.status_code != 503:  # named in the document where it can be
            case.validate_response(response, checks=[not_a_server_error])
        case.validate_response(response, checks=list(CONFORMS))

    with suppress(Unsatisfiable):  # without any input there is none that is forbidden
        ask()
    return asked
