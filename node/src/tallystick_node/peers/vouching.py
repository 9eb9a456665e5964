"""Asking another institution's node, as a verifier, to vouch for the evidence of a run."""

from __future__ import annotations

import grpc
from tallystick.chain.connection import Chain
from tallystick.protocol.errors import PeerFailed
from tallystick.protocol.proof.vouching import Vouching
from tallystick.protocol.reasons import Reason
from tallystick.wire import node_pb2, node_pb2_grpc

from tallystick_node.peers import knocking
from tallystick_node.peers.identity import channel
from tallystick_node.settings import Settings

SECONDS = 30.0  # for an answer


async def ask(settings: Settings, chain: Chain, account: str, request: node_pb2.VouchRequest) -> Vouching:
    """What the node of ``account`` vouches for; nothing in it is checked yet. Raises PeerFailed with the node's own words where it
    refuses, or does not answer in time, and what the check of its certificate raises."""
    target = settings.peers.get(account)
    if target is None:
        raise _failed(account, "its address is not configured", "add it to [peers] in the settings")
    paths = (settings.key, settings.certificate, settings.authority)
    await knocking.shown(settings, chain, account)
    try:
        async with channel(target, account, *paths, seconds=SECONDS) as connection:
            stub = node_pb2_grpc.PeerStub(connection)  # type: ignore[no-untyped-call]  # protoc generates untyped stubs
            reply = await stub.Vouch(request, timeout=SECONDS)
    except grpc.aio.AioRpcError as error:
        raise _failed(account, error.details() or error.code().name, "ask its operator") from None
    return Vouching.parse(reply.vouching)


def _failed(account: str, message: str, remedy: str) -> PeerFailed:
    return PeerFailed(message[:300], party=account, remedy=remedy, reason=Reason.NOT_VOUCHED)
