"""The other side of the alliance's ECDH-PSI, of the published parts alone: run by an interpreter that has `spu` 0.9.5,
`interconnection` 0.2.0.dev0 and `cryptography`, and nothing of ours.

The link is SPU's own (YACL), with its own defaults but the protocol, which is gRPC; messages are the classes that the alliance
publishes; points are OpenSSL's. With an environment of its own:

    python -m venv .venvs/alliance && .venvs/alliance/bin/pip install spu==0.9.5 interconnection==0.2.0.dev0 cryptography protobuf
    .venvs/alliance/bin/python tests/conformance/alliance_peer.py RANK PORT OUR_PORT FIRST LAST RESULT_TO_RANK

and ours at rank 1 - RANK: ``PlatformLink(...).connect(...)``, then ``intersect_with_platform``, with items ``id-<number>``. It
prints how many of its items match and how many items ours has.
"""

from __future__ import annotations

import hashlib
import os
import sys
import threading
from collections.abc import Iterator
from typing import Any

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from interconnection.handshake import entry_pb2
from interconnection.handshake.algos import psi_pb2
from interconnection.handshake.protocol_family import ecc_pb2
from interconnection.runtime import ecdh_psi_pb2
from spu.libspu import link

BATCH = 300  # more than ten batches: YACL waits then for what says that they were taken


def main(rank: int, port: int, peer_port: int, first: int, last: int, to: int) -> None:
    """One side."""
    description = link.Desc()
    description.id, description.brpc_channel_protocol, description.recv_timeout_ms = "root", "h2:grpc", 60_000
    for number in range(2):
        description.add_party(f"party{number}", f"127.0.0.1:{port if number == rank else peer_port}")
    main_link = link.create_brpc(description, rank)
    dual_link = main_link.spawn()
    items, key, other = [f"id-{number}".encode() for number in range(first, last)], X25519PrivateKey.generate(), 1 - rank

    def times(point: bytes) -> bytes:
        return key.exchange(X25519PublicKey.from_public_bytes(point))

    (answer if rank == 0 else propose)(main_link, len(items), to)
    own = [times(hashlib.sha256(item).digest()) for item in items]

    def send() -> None:
        for message in batches(own):
            main_link.send_async(other, message)

    sending = threading.Thread(target=send)
    sending.start()
    theirs: set[bytes] = set()
    for batch, points in received(main_link, other, "enc"):
        products = [times(point) for point in points]
        theirs.update(products)
        if to in (-1, other):
            batch.type, batch.ciphertext = "dual.enc", b"".join(products)
            dual_link.send_async(other, batch.SerializeToString())
    sending.join()
    matches: int | None = None
    if to in (-1, rank):
        matches = sum(point in theirs for _, points in received(dual_link, other, "dual.enc") for point in points)
    print(f"matches {matches}, theirs {len(theirs)}", flush=True)
    main_link.stop_link()


def propose(main_link: Any, items: int, to: int) -> None:
    """The handshake of rank 1."""
    request = entry_pb2.HandshakeRequest(version=2, requester_rank=1, supported_algos=[1], protocol_families=[1])
    ecc = ecc_pb2.EccProtocolProposal(supported_versions=[1], point_octet_formats=[1])
    ecc.ec_suits.add(curve=1, hash=11, hash2curve_strategy=3)
    request.protocol_family_params.add().Pack(ecc)
    request.io_param.Pack(psi_pb2.PsiDataIoProposal(supported_versions=[1], item_num=items, result_to_rank=to))
    main_link.send(0, request.SerializeToString())
    response = entry_pb2.HandshakeResponse.FromString(main_link.recv(0))
    if response.header.error_code:
        raise SystemExit(f"refused by {response.header.error_code}: {response.header.error_msg}")


def answer(main_link: Any, items: int, to: int) -> None:
    """The handshake of rank 0, as the reference implementation answers: by a proposal, without versions."""
    entry_pb2.HandshakeRequest.FromString(main_link.recv(1))
    response = entry_pb2.HandshakeResponse(algo=1, protocol_families=[1])
    response.header.error_code = 0
    suit = ecc_pb2.EcSuit(curve=1, hash=11, hash2curve_strategy=3)
    ecc = ecc_pb2.EccProtocolResult(ec_suit=suit, point_octet_format=1, bit_length_after_truncated=-1)
    response.protocol_family_params.add().Pack(ecc)
    response.io_param.Pack(psi_pb2.PsiDataIoProposal(item_num=items, result_to_rank=to))
    main_link.send(1, response.SerializeToString())


def batches(points: list[bytes]) -> Iterator[bytes]:
    """Messages, of which the last is empty."""
    parts = [*(points[start : start + BATCH] for start in range(0, len(points), BATCH)), []]
    for index, part in enumerate(parts):
        batch = ecdh_psi_pb2.EcdhPsiCipherBatch(type="enc", batch_index=index, is_last_batch=not part, count=len(part))
        batch.ciphertext = b"".join(part)
        yield batch.SerializeToString()


def received(given: Any, other: int, kind: str) -> Iterator[tuple[Any, list[bytes]]]:
    """Batches and their points, to one that is empty: where the reference implementation ends."""
    while True:
        batch = ecdh_psi_pb2.EcdhPsiCipherBatch.FromString(given.recv(other))
        if batch.type != kind or len(batch.ciphertext) != 32 * batch.count:
            raise SystemExit(f"no batch of {kind}")
        yield batch, [batch.ciphertext[32 * place : 32 * place + 32] for place in range(batch.count)]
        if not batch.count:
            return


if __name__ == "__main__":
    main(*map(int, sys.argv[1:7]))
    sys.stdout.flush()
    os._exit(0)  # SPU's threads do not end by themselves
