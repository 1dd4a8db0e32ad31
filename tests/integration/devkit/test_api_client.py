from __future__ import annotations

import socket
from collections.abc import Iterator
from uuid import UUID, uuid4

import pytest

from streamwarden.devkit.api_client import ApiClient, ApiRefused
from streamwarden.errors import Unavailable
from tests.integration.devkit.fake_product import Product, ProductServer


@pytest.fixture
def product() -> Product:
    return Product(rtsp_url="rtsp://h:8554")


@pytest.fixture
def api(product: Product) -> Iterator[ApiClient]:
    with ProductServer(product) as server:
        client = ApiClient(server.url, "hush")
        yield client
        client.close()


def test_every_call_carries_the_users_token(api: ApiClient, product: Product) -> None:
    api.cameras()
    api.put_setting("video_segment_seconds", 2)
    assert product.bearers == {"Bearer hush"}
    assert product.settings == {"video_segment_seconds": 2}


def test_an_added_camera_can_be_connected_and_disconnected(
    api: ApiClient, product: Product
) -> None:
    camera_id = UUID(str(api.add_camera(name="Door", owner="alice")["id"]))
    api.connect(camera_id)
    assert product.wanted == {str(camera_id)}
    assert api.recordings(camera_id)[0]["kind"] == "segment"
    assert api.publish_url(camera_id).startswith("rtsp://h:8554/")
    api.disconnect(camera_id)
    assert product.wanted == set()


def test_a_refusal_has_the_apis_stable_code(api: ApiClient) -> None:
    with pytest.raises(ApiRefused, match="no such camera") as refused:
        api._call("GET", f"/api/v1/camera/{uuid4()}/nothing")
    assert (refused.value.status, refused.value.code) == (404, "camera_not_found")


def test_a_503_means_later(api: ApiClient, product: Product) -> None:
    product.unavailable = 1
    with pytest.raises(Unavailable, match="storage_unavailable"):
        api.cameras()
    assert api.cameras() == []


def test_an_api_that_is_away_is_unavailable_and_no_token_is_shown() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        client = ApiClient(f"http://127.0.0.1:{unused.getsockname()[1]}", "hush")
        with pytest.raises(Unavailable) as refused:
            client.cameras()
        client.close()
    assert "hush" not in str(refused.value)
