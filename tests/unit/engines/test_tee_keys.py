"""A key service releases a key to an enclave that shows what it is, for one use; and a confined enclave computes with it."""

from __future__ import annotations

import contextlib
import hashlib
import json
import socket
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st
from tallystick.attestation import runs
from tallystick.attestation.documents import read_evidence
from tallystick.attestation.policy import AppraisalPolicy
from tallystick.attestation.quote import read_quote
from tallystick.attestation.simulation.authority import ProvisioningAuthority
from tallystick.attestation.standing import Standing
from tallystick_node.engines.tee import hosting, keys, locked
from tallystick_node.engines.tee.appraisal import Accepted
from tallystick_node.engines.tee.enclave import EnclaveFailed, EnclaveRefused
from tallystick_node.engines.tee.frames import Messages, StreamBroken
from tallystick_node.engines.tee.hosting import HostedEnclave
from tallystick_node.engines.tee.keys import Decision, KeyRefused, KeyService, ask
from tallystick_node.engines.tee.locked import Use
from tallystick_node.engines.tee.manifest import EnclaveManifest, fresh
from unit.engines.test_tee_attested_tls import WINDOW, Place

DATA_KEY = b"\x2a" * 32
ENCLAVE = X25519PrivateKey.from_private_bytes(b"\x11" * 32)
PUBLIC = ENCLAVE.public_key().public_bytes_raw()
USE = Use("accounts", b"\x01" * 32, b"\x02" * 32, b"\x05" * 32, (b"\x03" * 32,), 0, b"\x04" * 32, "0xabc/1")
CODE = USE.context + USE.algorithm


@pytest.fixture(scope="module")
def authority() -> ProvisioningAuthority:
    return ProvisioningAuthority(WINDOW)


class Kept:
    """A service with one key, whose permit is fixed, and what it recorded."""

    def __init__(self, accepted: Accepted, keys_: dict[str, bytes] | None = None) -> None:
        self.accepted, self.decisions = accepted, list[Decision]()
        self.service = KeyService({"accounts": DATA_KEY} if keys_ is None else keys_, self.permit, self.decisions.append)

    def permit(self, use: Use) -> Accepted:
        if use.context != USE.context:
            raise KeyRefused("key.use", "no grant is for this run")
        return self.accepted

    def asked(self, act: Callable[[Any], Any]) -> Any:
        """What ``act`` comes to over a transport to the service, which answers one request."""
        ours, theirs = socket.socketpair()
        with ours, theirs, ThreadPoolExecutor(1) as pool:
            served = pool.submit(self.service.serve, Messages(theirs, 30, 1 << 20))
            try:
                return act(Messages(ours, 30, 1 << 20))
            finally:
                served.result(30)


def attest(place: Place, public_key: bytes = PUBLIC) -> Callable[[bytes], bytes]:
    return lambda nonce: place.attest(runs.key_digest(public_key) + fresh(USE.conditions, nonce))


def test_a_key_is_released_to_the_enclave_and_opens_for_its_use_alone(authority: ProvisioningAuthority) -> None:
    place = Place(authority)
    kept = Kept(replace(place.accepted, standing=place.standing))
    sealed = kept.asked(lambda way: ask(way, USE, PUBLIC, attest(place)))
    assert locked.opened(ENCLAVE, sealed, locked.released_for("accounts", CODE, USE.receivers, 0)) == (DATA_KEY, USE.inputs)
    for context in (
        locked.released_for("other", CODE, USE.receivers, 0),
        locked.released_for("accounts", CODE[::-1], USE.receivers, 0),
        locked.released_for("accounts", CODE, (b"\x05" * 32,), 0),
        locked.released_for("accounts", CODE, USE.receivers, 1),
    ):
        with pytest.raises(InvalidTag):
            locked.opened(ENCLAVE, sealed, context)
    with pytest.raises(InvalidTag):
        locked.opened(X25519PrivateKey.generate(), sealed, USE.sealing())
    (decision,) = kept.decisions
    assert (decision.rule, decision.strength, decision.use) == ("", "attested, simulated", USE)
    assert DATA_KEY.hex() not in repr(decision) and str(DATA_KEY) not in repr(decision)


def refused(kept: Kept, place: Place, give: Callable[[bytes], bytes] | None = None, use: Use = USE) -> str:
    with pytest.raises(KeyRefused) as caught:
        kept.asked(lambda way: ask(way, use, PUBLIC, give or attest(place)))
    assert kept.decisions[-1].rule == caught.value.rule
    return caught.value.rule


def test_what_is_not_permitted_gets_nothing_and_is_recorded(authority: ProvisioningAuthority) -> None:
    place = Place(authority)
    accepted = replace(place.accepted, standing=place.standing)
    kept = Kept(accepted)
    assert refused(kept, place, use=replace(USE, context=bytes(32))) == "key.use"
    assert refused(Kept(accepted, {}), place) == "key.unknown"
    assert refused(Kept(replace(accepted, identities=frozenset({bytes(32)}))), place) == "policy.measurement"
    debug = Place(authority, attributes=bytes([0x07]) + bytes(7) + bytes([0x03]) + bytes(7))
    assert refused(Kept(debug.accepted), debug) == "policy.debug"
    assert refused(Kept(replace(accepted, standing=Standing(accepted.identities, {}))), place) == "policy.standing"
    assert refused(Kept(replace(accepted, standing=replace(place.standing, enclaves=frozenset()))), place) == "policy.standing"
    hardware = replace(accepted, policy=AppraisalPolicy("hardware"), simulated=False)
    assert refused(Kept(hardware), place) == "dcap.root"
    assert refused(Kept(replace(accepted, simulated=False)), place) == "policy.authority"
    assert refused(kept, place, lambda nonce: b"{}") == "form.version"
    released = kept.asked(lambda way: ask(way, USE, PUBLIC, attest(place)))
    assert released and [each.rule for each in kept.decisions] == ["key.use", "form.version", ""]


def test_evidence_is_for_one_request_one_use_and_one_key(authority: ProvisioningAuthority) -> None:
    place = Place(authority)
    kept, documents = Kept(place.accepted), list[bytes]()

    def remembering(nonce: bytes) -> bytes:
        documents.append(attest(place)(nonce))
        return documents[-1]

    assert kept.asked(lambda way: ask(way, USE, PUBLIC, remembering))
    assert refused(kept, place, lambda _: documents[0]) == "policy.report-data"  # replayed
    assert refused(kept, place, attest(place, b"\x09" * 32)) == "policy.report-data"  # of another enclave's key
    for change in ({"place": 1}, {"conditions": bytes(32)}, {"inputs": bytes(32)}, {"run": "other"}, {"name": "x"}):
        another = replace(USE, **change)

        class Lying(Use):  # asks for one use, and brings evidence for another
            def request(self, nonce: bytes, other: Use = another) -> bytes:
                return other.request(nonce)

        def elsewhere(request: bytes, conditions: bytes = another.conditions) -> bytes:
            return place.attest(runs.key_digest(PUBLIC) + fresh(conditions, request))

        assert refused(kept, place, elsewhere, Lying(**vars(USE))) == "policy.report-data"


def test_what_is_revoked_while_the_host_takes_its_time_gets_nothing(authority: ProvisioningAuthority) -> None:
    place = Place(authority)
    kept = Kept(replace(place.accepted, standing=place.standing))

    def slow(nonce: bytes) -> bytes:
        kept.accepted = replace(kept.accepted, standing=Standing(frozenset(), {}))
        return attest(place)(nonce)

    assert refused(kept, place, slow) == "policy.standing"


def test_no_key_leaves_where_no_record_can_be_made(authority: ProvisioningAuthority) -> None:
    place = Place(authority)
    kept = Kept(place.accepted)

    def full(decision: Decision) -> None:
        raise OSError("no space left")

    kept.service._record = full
    ours, theirs = socket.socketpair()
    with ours, theirs, ThreadPoolExecutor(1) as pool:
        sent = list[bytes]()

        def serve() -> None:
            way = Messages(theirs, 30, 1 << 20)
            send = way.send
            way.send = lambda message: (sent.append(message), send(message))[1]  # type: ignore[method-assign]
            try:
                kept.service.serve(way)
            finally:
                theirs.close()

        served = pool.submit(serve)
        with pytest.raises(Exception, match="Ended"):
            ask(Messages(ours, 30, 1 << 20), USE, PUBLIC, attest(place))
        with pytest.raises(OSError, match="no space"):
            served.result(30)
        assert [message[:1] for message in sent] == [b"N"]


MALFORMED = st.one_of(
    st.binary(max_size=200),
    st.recursive(st.none() | st.integers() | st.text(max_size=8), lambda each: st.lists(each) | st.dictionaries(st.text(), each))
    .map(json.dumps)
    .map(str.encode),
    st.fixed_dictionaries(
        {name: st.one_of(st.none(), st.integers(), st.text(max_size=70), st.lists(st.text(max_size=4))) for name in keys._MEMBERS}
    )
    .map(json.dumps)
    .map(str.encode),
)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(MALFORMED)
def test_a_malformed_request_is_refused_by_its_own_rule(request: bytes) -> None:
    with pytest.raises(KeyRefused) as caught:
        keys._read(request)
    assert caught.value.rule == "key.request"


@pytest.mark.parametrize(
    "change", [{"name": "\ud800"}, {"run": "\ud800"}, {"name": "\u20ac" * 43}, {"name": ""}, {"place": 1 << 16}]
)
def test_a_use_that_cannot_be_named_is_malformed(change: dict[str, Any]) -> None:
    value = {name: getattr(USE, name, "") for name in keys._MEMBERS} | {"public_key": PUBLIC, "receivers": []} | change
    request = json.dumps({name: item.hex() if isinstance(item, bytes) else item for name, item in value.items()})
    with pytest.raises(KeyRefused) as caught:
        keys._read(request.encode())
    assert caught.value.rule == "key.request"
    whole = json.loads(request) | {"name": "x", "run": "", "place": 0}
    assert keys._read(json.dumps(whole).encode())[0].name == "x"


def test_a_public_key_of_small_order_gets_nothing(authority: ProvisioningAuthority) -> None:
    place = Place(authority)
    with pytest.raises(KeyRefused, match="sealed to"):
        Kept(place.accepted).asked(lambda way: ask(way, USE, bytes(32), attest(place, bytes(32))))


ADD = b"def run(inputs):\n    return str(sum(map(int, inputs))).encode()\n"


@pytest.mark.parametrize(("promised", "fails"), [(None, ""), (bytes(32), "OtherInputs")])
def test_a_confined_enclave_computes_on_what_lies_locked_at_its_host(
    authority: ProvisioningAuthority, promised: bytes | None, fails: str
) -> None:
    """One input is sealed by its owner, the other lies at the host, and its owner is not there: its key service is. What was
    released for other inputs computes nothing."""
    manifest, receiver = EnclaveManifest(ADD, bytes(32)), X25519PrivateKey.generate()
    receivers = [receiver.public_key().public_bytes_raw()]
    digest, context = hashlib.sha256(ADD).digest(), b"\x06" * 32
    salts, data = [b"\x07" * 32, b"\x08" * 32], [b"40", b"2"]
    commitments = [runs.commitment(*each) for each in zip(salts, data, strict=True)]
    together = runs.inputs_digest(commitments)
    use = Use("accounts", context, digest, manifest.conditions, tuple(receivers), 1, together if promised is None else promised)
    policy = AppraisalPolicy("keys", simulations=frozenset({authority.fingerprint}))
    exported = authority.export(b"word")
    ours, theirs = socket.socketpair()

    def launched() -> None:
        with contextlib.suppress(StreamBroken):
            hosting.main(theirs, hosting.authority_frame(exported, b"word", bytes(32)))

    with ours, ThreadPoolExecutor(1) as pool:
        pool.submit(launched)
        try:
            enclave = HostedEnclave(ours, manifest)
            identity = read_quote(read_evidence(enclave.attest(bytes(32))).raw).body.identity
            kept = Kept(Accepted(identities=frozenset({identity}), policy=policy, simulated=True))
            kept.service = KeyService({"accounts": DATA_KEY}, lambda _: kept.accepted, kept.decisions.append)
            released = kept.asked(lambda way: ask(way, use, enclave.public_key, enclave.attest))
            input_context = runs.input_context(context + digest, receivers, 0)
            sealed = runs.seal(enclave.public_key, salts[0] + together + data[0], input_context)
            at_rest = locked.lock(DATA_KEY, "accounts", salts[1], data[1])
            with pytest.raises(EnclaveFailed, match=fails) if fails else contextlib.nullcontext():
                run, _ = enclave.compute([sealed, at_rest], receivers, context, 30.0, {1: ("accounts", released)})
                opening = runs.output_context(context + digest, receivers, commitments)
                assert runs.unseal(receiver, run.outputs[0], opening)[32:] == b"42"
        except EnclaveRefused as refused:
            if "not in force on this host" not in str(refused):
                raise
            pytest.skip(str(refused))
        finally:
            ours.close()
