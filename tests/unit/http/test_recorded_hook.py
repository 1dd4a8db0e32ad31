"""What MediaMTX v1.20.1 really sends to the hook, byte for byte, and what it must be answered."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from falcon import testing

from tests.unit.http.conftest import ApiHarness

RECORDED = json.loads(
    (Path(__file__).parents[2] / "recorded" / "hook_requests.json").read_text(encoding="utf-8")
)
FIELDS = [
    *("ip", "user", "password", "token", "action", "path", "protocol", "id", "query", "userAgent")
]
REQUESTS = [
    pytest.param(one, id=f"{place}: {one['when']}")
    for place, one in enumerate(RECORDED["requests"])
]


def replay(harness: ApiHarness, request: Mapping[str, Any], *, path: str) -> testing.Result:
    tokens = {
        "{publish}": harness.tokens.sign_publish("alice", path, ttl_s=60).token,
        "{read}": harness.tokens.sign_view("alice", path, ttl_s=60).token,
    }
    body = str(request["body"])
    for template, token in tokens.items():
        body = body.replace(template, token)
    client = testing.TestClient(harness.internal.app)
    return client.simulate_post(
        "/api/v1/m2m/check-stream-pwd", body=body.encode(), headers=RECORDED["headers"]
    )


def counted(harness: ApiHarness, request: Mapping[str, Any], outcome: str) -> float | None:
    action = json.loads(request["body"])["action"]
    return harness.registry.get_sample_value(
        "streamwarden_stream_auth_total", {"action": action, "outcome": outcome}
    )


@pytest.mark.parametrize("request_", REQUESTS)
def test_a_recorded_request_is_answered_as_it_was_meant(
    harness: ApiHarness, request_: Mapping[str, Any]
) -> None:
    path = json.loads(request_["body"])["path"] or "yard/door"
    answer = replay(harness, request_, path=path)
    assert answer.status_code == (200 if request_["outcome"] == "allowed" else 401)
    assert counted(harness, request_, request_["outcome"]) == 1


@pytest.mark.parametrize("request_", REQUESTS)
def test_with_tokens_for_another_camera_none_is_let_in(
    harness: ApiHarness, request_: Mapping[str, Any]
) -> None:
    assert replay(harness, request_, path="somebody/else").status_code == 401


def test_mediamtx_sends_the_fields_that_we_rely_on() -> None:
    for request in RECORDED["requests"]:
        assert list(json.loads(request["body"])) == FIELDS


def test_a_first_call_without_credentials_is_told_that_there_are_some_to_show(
    harness: ApiHarness,
) -> None:
    """Or no client would come again with those of its URL."""
    request = next(one for one in RECORDED["requests"] if one["outcome"] == "no_credentials")
    answer = replay(harness, request, path="yard/door")
    assert answer.status_code == 401
    assert "www-authenticate" in answer.headers
