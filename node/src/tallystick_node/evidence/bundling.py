"""The evidence bundle of a proved task, from what this node kept and what the chain recorded."""

from __future__ import annotations

import json

from tallystick.chain.connection import Chain
from tallystick.chain.evidence import collect
from tallystick.protocol import canonical
from tallystick.protocol.bundle import Bundle
from tallystick.protocol.case import grants_bytes
from tallystick.protocol.errors import NotFound
from tallystick.protocol.grant import Grant
from tallystick.protocol.task import TaskSpec

from tallystick_node.store.database import Store


def build_bundle(store: Store, chain: Chain, authority_pem: bytes, task: str) -> Bundle:
    """The bundle of a proved task. Raises NotFound when this node has no proof of it."""
    run = store.run(task)
    statement, proof = store.recall(task, "statement"), store.recall(task, "proof")
    certificates = store.recall(task, "certificates")
    if run is None or run.state != "proved" or statement is None or proof is None or certificates is None:
        raise NotFound("there is no proved result of this task at this node", party=task, remedy="ask another party")
    spec = TaskSpec.parse(run.spec)
    terms, grants = {}, []
    for part in spec.inputs:
        document = store.document(canonical.unhex32(part.terms))
        grant = store.document(canonical.unhex32(part.grant))
        if document is None or grant is None:
            raise NotFound("the terms of a grant are not at this node", party=part.grant, remedy="ask its owner's node")
        terms[f"{part.grant[2:18]}.json"] = document
        grants.append(Grant.from_json(canonical.decode(grant, 1 << 16)))
    return Bundle(
        spec=run.spec,
        grants=grants_bytes(grants),
        authority=authority_pem,
        statement=statement,
        proof=proof,
        chain=collect(chain, spec).to_bytes(),
        terms=terms,
        certificates={f"{account}.pem": pem.encode() for account, pem in json.loads(certificates).items()},
    )
