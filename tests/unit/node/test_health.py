"""The probes."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from urllib.error import HTTPError
from urllib.request import urlopen

import pytest
from tallystick.protocol.errors import Configuration
from tallystick_node.server import health


@pytest.fixture
def problems() -> list[str]:
    return []


@pytest.fixture
def url(problems: list[str]) -> Iterator[str]:
    server = health.serve("127.0.0.1:0", lambda: problems)
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


def get(url: str) -> tuple[int, str]:
    try:
        with urlopen(url, timeout=60) as answer:
            return answer.status, answer.read().decode()
    except HTTPError as error:
        return error.code, error.read().decode()


def test_alive_ready_and_metrics(url: str, problems: list[str]) -> None:
    assert get(url + "/healthz") == (200, "ok\n")
    assert get(url + "/readyz") == (200, "ready\n")
    status, body = get(url + "/metrics")
    assert status == 200 and "python_info" in body
    assert get(url + "/tasks")[0] == 404
    problems.append("the chain does not answer")
    assert get(url + "/readyz") == (503, "the chain does not answer\n")
    assert get(url + "/healthz")[0] == 200


def test_a_port_in_use_is_named() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(Configuration, match="cannot be listened on"):
            health.serve(f"127.0.0.1:{taken.getsockname()[1]}", list)


@pytest.mark.parametrize("address", ["nonsense", "127.0.0.1:notaport", "127.0.0.1:99999"])
def test_a_wrong_address_is_named(address: str) -> None:
    with pytest.raises(Configuration):
        health.serve(address, list)
