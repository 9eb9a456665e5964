from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from tallystick.chain.connection import Chain
from tallystick.chain.profile import PROFILES
from tallystick.protocol.errors import ChainUnreachable
from unit.chain.rpc_node import Failure, Node, address_of, anchored


class Logs:
    """A node with one event in each of some blocks, that takes at most ``limit`` blocks a query."""

    def __init__(self, node: Node, blocks: list[int], limit: int) -> None:
        self.blocks, self.limit = blocks, limit
        self.pages: list[tuple[int, int]] = []
        self.refused = 0
        node.methods["eth_getLogs"] = self.answer

    def answer(self, query: dict[str, Any]) -> list[dict[str, Any]]:
        first, last = int(query["fromBlock"], 16), int(query["toBlock"], 16)
        if last - first + 1 > self.limit:
            self.refused += 1
            raise Failure({"code": -32005, "message": "query returned more than 10000 results"})
        self.pages.append((first, last))
        return [anchored(block) for block in self.blocks if first <= block <= last]


def chain_with(node: Node, page: int) -> Chain:
    return node.chain(profile=replace(PROFILES["development"], log_page=page))


@pytest.mark.parametrize("page", [1, 2, 3, 7, 10, 11, 1000])
def test_every_event_comes_once_whatever_the_page(node: Node, page: int) -> None:
    logs = Logs(node, list(range(22)), limit=10**6)
    chain = chain_with(node, page)
    assert [event.block for event in chain.events(0, 21)] == list(range(22))
    assert [event.block for event in chain.events(3, 20)] == list(range(3, 21))
    assert all(last - first < page for first, last in logs.pages)


def test_events_at_the_borders_of_pages_come_once(node: Node) -> None:
    logs = Logs(node, [9, 10, 19, 20, 29, 30], limit=10**6)
    assert [event.block for event in chain_with(node, 10).events(0, 30)] == [9, 10, 19, 20, 29, 30]
    assert logs.pages == [(0, 9), (10, 19), (20, 29), (30, 30)]


@pytest.mark.parametrize("limit", [1, 2, 5, 99])
def test_a_page_that_is_too_long_is_halved(node: Node, limit: int) -> None:
    logs = Logs(node, list(range(40)), limit)
    assert [event.block for event in chain_with(node, 64).events(0, 39)] == list(range(40))
    assert logs.refused <= 6  # the size that works is kept
    covered = [block for first, last in logs.pages for block in range(first, last + 1)]
    assert covered == list(range(40))


def test_a_node_that_takes_no_page_at_all_is_unreachable_and_says_why(node: Node) -> None:
    logs = Logs(node, [], limit=0)
    with pytest.raises(ChainUnreachable, match="more than 10000 results"):
        list(chain_with(node, 16).events(0, 5))
    assert logs.refused == 5


def test_no_blocks_are_no_events(node: Node) -> None:
    logs = Logs(node, [1], limit=10)
    assert list(chain_with(node, 10).events(5, 4)) == []
    assert logs.pages == []


def test_an_answer_for_other_blocks_is_no_answer(node: Node) -> None:
    node.methods["eth_getLogs"] = lambda _: [anchored(3)]
    with pytest.raises(ChainUnreachable, match="other blocks"):
        list(chain_with(node, 10).events(10, 19))


def test_an_event_has_its_names_and_types(node: Node) -> None:
    node.methods["eth_getLogs"] = lambda _: [anchored(3, index=2, size=9)]
    [event] = chain_with(node, 10).events(0, 9)
    assert (event.contract, event.name, event.block, event.log_index) == ("AuditLog", "Anchored", 3, 2)
    assert (event["account"], event["size"], event["root"]) == ("0x" + "11" * 20, 9, b"\x22" * 32)


def test_logs_that_are_none_of_ours_are_left_out(node: Node) -> None:
    foreign = {**anchored(3), "address": "0x" + "44" * 20}
    anonymous = {**anchored(3), "topics": []}
    unknown = {**anchored(3), "topics": ["0x" + "55" * 32]}
    node.methods["eth_getLogs"] = lambda _: [foreign, anonymous, unknown, anchored(4)]
    assert [event.block for event in chain_with(node, 10).events(0, 9)] == [4]
    assert {item.lower() for item in node.asked("eth_getLogs")[0][0]["address"]} >= {address_of("AuditLog").lower()}


@pytest.mark.parametrize(
    "change",
    [
        {"topics": anchored(3)["topics"][:2]},
        {"topics": [anchored(3)["topics"][0], "0x12", "0xzz"]},
        {"topics": 7},
        {"data": "0x"},
        {"data": None},
        {"blockNumber": None},
        {"blockNumber": "latest"},
        {"address": None},
        {"logIndex": {}},
    ],
)
def test_a_log_that_does_not_decode_is_an_answer_that_makes_no_sense(node: Node, change: dict[str, Any]) -> None:
    node.methods["eth_getLogs"] = lambda _: [{**anchored(3), **change}]
    with pytest.raises(ChainUnreachable):
        list(chain_with(node, 10).events(0, 9))
