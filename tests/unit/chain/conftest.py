from __future__ import annotations

import socket
import threading
from collections.abc import Iterator

import pytest
from unit.chain.rpc_node import Node


@pytest.fixture
def node() -> Iterator[Node]:
    made = Node()
    threading.Thread(target=made.server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    yield made
    made.server.shutdown()
    made.server.server_close()


@pytest.fixture
def unused_port() -> Iterator[int]:
    with socket.socket() as probe:  # which keeps others from it, and does not listen
        probe.bind(("127.0.0.1", 0))
        yield int(probe.getsockname()[1])
