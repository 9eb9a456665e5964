"""A key service: an institution keeps data keys, and releases one only to an enclave that has shown what it is, for one use.

One request, over any transport: the enclave's host names the key, what it is for (:class:`~.locked.Use`) and the enclave's public
key; the service answers with a nonce; the host brings evidence of the enclave over its public key, fresh for this nonce and this
use; the service releases the key sealed to that public key (HPKE), or says by which rule it does not.

Security: the key leaves the service only sealed to a key that appraised evidence vouches for, so neither the host nor the transport
learns it. Whether a use is permitted at all, and by which enclaves on which platforms, is for ``permit`` to say, which asks the
chain; the service knows no chain. It asks anew for each request, once the evidence is there, so what was revoked by then gets
nothing; what was released before stays released. A nonce is drawn for one request and forgotten with it. Every decision is recorded
before it is answered: where no record can be made, no key leaves. The service takes the digest of the other inputs from who asks:
the enclave computes on no other inputs than these, but only ``permit`` can say whether they are somebody's.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from tallystick import flat_json
from tallystick.attestation import runs
from tallystick.attestation.rules import EvidenceRefused

from tallystick_node.engines.tee.appraisal import Accepted
from tallystick_node.engines.tee.attested_tls import Transport
from tallystick_node.engines.tee.locked import KEY, Use, release
from tallystick_node.engines.tee.manifest import fresh

NONCE = 32
MAX_REQUEST = 8 << 10
_NONCE, _RELEASED, _REFUSED = b"N", b"R", b"X"
_MEMBERS = ("name", "context", "algorithm", "conditions", "receivers", "place", "inputs", "run", "public_key")


class KeyRefused(Exception):  # noqa: N818 - a verdict
    """A key is not released. ``rule`` is a stable code: of the attestation's rules, or ``key.request`` (malformed),
    ``key.unknown``, ``key.use`` (not permitted), ``key.service`` (the service fails)."""

    def __init__(self, rule: str, message: str) -> None:
        super().__init__(f"{rule}: {message}")
        self.rule = rule
        self.message = message


@dataclass(frozen=True)
class Decision:
    """What the service records of one request: the ``use`` (None where it was malformed), the enclave's public key, the rule that
    refused it (empty: the key was released), and what was found of its environment. No key, and nothing of one."""

    use: Use | None
    public_key: bytes
    rule: str
    message: str
    strength: str = ""
    measurement: bytes = b""
    evidence: bytes = b""


Permit = Callable[[Use], Accepted]
"""Which environments may have a key for a use; raises :class:`KeyRefused` where none may."""


class KeyService:
    """``keys`` by name, 32 bytes each. ``record`` is called with every decision before it is answered."""

    def __init__(self, keys: Mapping[str, bytes], permit: Permit, record: Callable[[Decision], None]) -> None:
        if any(len(key) != KEY for key in keys.values()):
            raise ValueError(f"a data key takes {KEY} bytes")
        self._keys, self._permit, self._record = dict(keys), permit, record

    def serve(self, transport: Transport) -> Decision:
        """One request. Raises what the transport and ``record`` raise; a refusal is an answer."""
        use, public_key = None, b""
        try:
            use, public_key = _read(transport.receive())
            key = self._keys.get(use.name)
            if key is None:
                raise KeyRefused("key.unknown", "no key of this name is kept here")
            nonce = secrets.token_bytes(NONCE)
            transport.send(_NONCE + nonce)
            document = transport.receive()
            accepted = self._permit(use)  # not before the evidence is here, for which its host takes the time that it likes
            found = accepted.appraise(document, runs.key_digest(public_key) + fresh(use.conditions, use.request(nonce)))
            try:
                sealed = release(public_key, key, use)
            except ValueError:  # of a point of small order
                raise KeyRefused("key.request", "the public key is none that anything can be sealed to") from None
        except KeyRefused as refused:
            return self._refused(transport, Decision(use, public_key, refused.rule, refused.message))
        except EvidenceRefused as refused:
            return self._refused(transport, Decision(use, public_key, refused.rule.code, refused.message))
        decision = Decision(use, public_key, "", "released", found.strength, found.measurement, found.evidence)
        self._record(decision)
        transport.send(_RELEASED + sealed)
        return decision

    def _refused(self, transport: Transport, decision: Decision) -> Decision:
        self._record(decision)
        transport.send(_REFUSED + f"{decision.rule}\n{decision.message}".encode())
        return decision


def ask(transport: Transport, use: Use, public_key: bytes, attest: Callable[[bytes], bytes]) -> bytes:
    """The host's side: what the service released for ``use`` to the enclave with ``public_key``, which gives evidence, as a
    document, over its key and a nonce. Raises :class:`KeyRefused` by the rule that the service names."""
    value = {
        "name": use.name,
        "context": use.context.hex(),
        "algorithm": use.algorithm.hex(),
        "conditions": use.conditions.hex(),
        "receivers": [each.hex() for each in use.receivers],
        "place": use.place,
        "inputs": use.inputs.hex(),
        "run": use.run,
        "public_key": public_key.hex(),
    }
    transport.send(json.dumps(value).encode())
    answer = transport.receive()
    if answer.startswith(_NONCE):
        transport.send(attest(use.request(answer[1:])))
        answer = transport.receive()
    if answer.startswith(_RELEASED):
        return answer[1:]
    rule, _, message = answer[1:].decode("utf-8", "replace").partition("\n")
    raise KeyRefused(rule[:64], message[:256])


def _read(request: bytes) -> tuple[Use, bytes]:
    try:
        value = flat_json.parse(request) if len(request) <= MAX_REQUEST else None
        if not isinstance(value, dict) or set(value) != set(_MEMBERS):
            raise ValueError
        public_key = bytes.fromhex(value["public_key"])
        receivers = tuple(bytes.fromhex(each) for each in value["receivers"])
        name, place, run = value["name"], value["place"], value["run"]
        if len(public_key) != 32 or not isinstance(name, str) or type(place) is not int or not isinstance(run, str):
            raise ValueError
        words = {each: bytes.fromhex(value[each]) for each in ("context", "algorithm", "conditions", "inputs")}
        return Use(name=name, receivers=receivers, place=place, run=run, **words), public_key
    except (ValueError, TypeError):
        raise KeyRefused("key.request", "the request is malformed") from None
