"""Which enclaves may have a data key: what the institution wrote down of the key, and what the chain says now.

The file of keys is JSON, for its owner's eyes alone: ``{"keys": {NAME: {"key": 64 hex digits, "grants": ["0x…"], "conditions":
["sha256:…"], "receivers": [64 hex digits], "enclaves": ["sha256:…"], "proof": "attested-hardware" or "attested-simulated",
"policy": an appraisal policy}}}``. ``policy`` is a document ``tallystick/policy``; it names roots of simulation for
``attested-simulated`` alone.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tallystick import flat_json
from tallystick.attestation.documents import read_policy
from tallystick.attestation.policy import AppraisalPolicy
from tallystick.attestation.rules import EvidenceRefused
from tallystick.chain.connection import Chain
from tallystick.chain.enclaves import VERIFIERS, standing
from tallystick.protocol import canonical
from tallystick.protocol.errors import Configuration, MalformedDocument, TallystickError
from tallystick.protocol.fields import Fields
from tallystick.protocol.proof.subject import context_of
from tallystick.protocol.task import ATTESTED_SIMULATED
from tallystick.signing import require_private

from tallystick_node.engines.tee.appraisal import Accepted
from tallystick_node.engines.tee.keys import KeyRefused
from tallystick_node.engines.tee.locked import Use

MAX_FILE = 1 << 20
RUNNING = 2  # ITaskLedger.State
_RUN = re.compile(r"(0x[0-9a-f]{64})/([1-9][0-9]{0,2})")
_RAW = re.compile(r"[0-9a-f]{64}")
_MEMBERS = ("key", "grants", "conditions", "receivers", "enclaves", "proof", "policy")


@dataclass(frozen=True)
class Entry:
    """What the institution wrote down of one key: the grants under whose debits it is released, for which code and limits, whose
    output goes to which keys; and which enclaves, of which kind of proof, by which policy."""

    grants: frozenset[bytes]
    conditions: frozenset[bytes]
    receivers: frozenset[bytes]
    enclaves: frozenset[bytes]
    proof: str
    policy: AppraisalPolicy


def load(path: Path) -> tuple[dict[str, bytes], dict[str, Entry]]:
    """Keys and entries by name. Raises Configuration naming file, key and rule, and no secret."""
    try:
        require_private(path)
        content = path.read_bytes()
        value = flat_json.parse(content) if len(content) <= MAX_FILE else None
        named = Fields(value, ("keys",), "keys").object("keys")
        found = {name: _entry(each, f"keys.{name[:40]}") for name, each in named.items()}
    except OSError as error:
        raise Configuration(f"the keys cannot be read: {error.strerror}", party=str(path)) from None
    except MalformedDocument as error:
        raise Configuration(error.message, party=str(path), remedy="see docs/how-to/release-keys.md") from None
    except ValueError:
        raise Configuration("the keys are not JSON", party=str(path), remedy="see docs/how-to/release-keys.md") from None
    return {name: key for name, (key, _) in found.items()}, {name: entry for name, (_, entry) in found.items()}


def _entry(value: Any, where: str) -> tuple[bytes, Entry]:
    fields = Fields(value, _MEMBERS, where)
    key = fields.string("key", 64)
    if not _RAW.fullmatch(key):
        raise MalformedDocument(f"{where}.key: must be 64 lower-case hex digits")
    proof = fields.choice("proof", VERIFIERS)
    try:
        policy = read_policy(json.dumps(fields.object("policy")).encode())
    except EvidenceRefused as refused:
        raise MalformedDocument(f"{where}.policy: {refused.message}") from None
    if bool(policy.simulations) != (proof == ATTESTED_SIMULATED):
        raise MalformedDocument(f"{where}.policy: names roots of simulation for {ATTESTED_SIMULATED}, and only for it")
    receivers = fields.names("receivers", 1, 64, 64)
    if not all(map(_RAW.fullmatch, receivers)):
        raise MalformedDocument(f"{where}.receivers: must be 64 lower-case hex digits each")
    entry = Entry(
        frozenset(map(canonical.unhex32, fields.names("grants", 1, 64))),
        frozenset(map(canonical.untext, fields.names("conditions", 1, 64))),
        frozenset(map(bytes.fromhex, receivers)),
        frozenset(map(canonical.untext, fields.names("enclaves", 1, 64))),
        proof,
        policy,
    )
    return bytes.fromhex(key), entry


class ChainPermits:
    """The permits of one institution, asked of the chain's head for each request."""

    def __init__(self, entries: Mapping[str, Entry], chain: Chain) -> None:
        self._entries, self._chain = dict(entries), chain

    def __call__(self, use: Use) -> Accepted:
        """Which environments may have the key for ``use``. Raises KeyRefused unless its entry allows code and receivers, and the
        chain has debited one of its grants, not revoked since, for the attempt, which runs now."""
        entry = self._entries.get(use.name)
        if entry is None:
            raise KeyRefused("key.unknown", "no key of this name is kept here")
        _require(use.conditions in entry.conditions, "the key is not for this code under these limits")
        _require(bool(use.receivers) and entry.receivers.issuperset(use.receivers), "the key is not for these receivers")
        named = _RUN.fullmatch(use.run)
        if named is None:
            raise KeyRefused("key.request", "a run is named by its task's id, a slash, and the attempt's number")
        task, attempt = canonical.unhex32(named[1]), int(named[2])
        deployment = self._chain.deployment
        context = context_of(deployment.chain_id, deployment.contracts["ProofRegistry"], task, attempt) if attempt < 256 else b""
        _require(use.context == context, "the run's context is that of another attempt")
        try:
            head = self._chain.head()
            facts = self._chain.tasks.task_at(task, block=head)
            # A task whose time has passed still is one that runs, until somebody reports it.
            current = facts["state"] == RUNNING and facts["attempt"] == attempt and self._time(head) <= facts["runBy"]
            _require(current, "the attempt does not run")
            granted = entry.grants & self._debited(task, attempt, facts["startedAt"], head)
            valid = any(not self._chain.grants.account_of(grant, block=head)["revoked"] for grant in granted)
            _require(valid, "no grant of this key was debited for the attempt, or it was revoked")
            listed = standing(self._chain, entry.proof)
        except TallystickError:
            raise KeyRefused("key.service", "the chain does not answer, so nothing is released") from None
        simulated = entry.proof == ATTESTED_SIMULATED
        return Accepted(identities=entry.enclaves, policy=entry.policy, simulated=simulated, standing=listed)

    def _time(self, block: int) -> int:
        return int(self._chain.block(block)["timestamp"], 16)

    def _debited(self, task: bytes, attempt: int, since: int, head: int) -> set[bytes]:
        """The grants that were debited for an attempt, all in one block: looked for from the head back to when it began, as a chain
        may be years long."""
        last = head
        while True:
            first = max(0, last + 1 - self._chain.profile.log_page)
            debits = [event for event in self._chain.events(first, last) if event.name == "Debited"]
            found = {event["grant"] for event in debits if (event["task"], event["attempt"]) == (task, attempt)}
            if found or first == 0 or self._time(first) < since:
                return found
            last = first - 1


def _require(holds: bool, message: str) -> None:  # noqa: FBT001 - a predicate
    if not holds:
        raise KeyRefused("key.use", message)
