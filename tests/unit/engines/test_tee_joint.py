"""A task in an enclave among four parties over in-memory channels: who gets what, and which evidence an owner refuses.

One enclave with real evidence serves the run; what an owner refuses is tried on evidence of a simulated platform, without one.
"""

from __future__ import annotations

import hashlib
import json
import socket
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from tallystick.attestation import runs
from tallystick.attestation.documents import read_evidence, write_evidence
from tallystick.attestation.policy import AppraisalPolicy
from tallystick.attestation.quote import SGX, read_quote
from tallystick.attestation.simulation.authority import ProvisioningAuthority
from tallystick.attestation.simulation.platform import EnclaveIdentity, SimulatedPlatform
from tallystick.attestation.standing import Standing
from tallystick.attestation.verifier import Evidence
from tallystick_node.engines.channel import ProtocolViolation, Session, local_sessions
from tallystick_node.engines.tee import hosting, joint
from tallystick_node.engines.tee.enclave import EnclaveFailed, EnclaveRefused, TaskRun
from tallystick_node.engines.tee.hosting import HostedEnclave
from tallystick_node.engines.tee.joint import Finished, Terms
from tallystick_node.engines.tee.manifest import EnclaveManifest, Limits, fresh
from tallystick_node.engines.tee.tables import Column, Table, encode

NOW = int(time.time())
WINDOW = (NOW - 1_000, NOW + 100_000)
CONTEXT = b"\x05" * 32
CONDITIONS = b"\x0a" * 32
QUERY = b"SELECT count(*) AS group_size, sum(a.v + b.v + c.v) AS total FROM a JOIN b USING (k) JOIN c USING (k)"
HOST, RECEIVER = 0, 3
OWNERS = (0, 1, 2)


def table(name: str) -> bytes:
    return encode(Table(name, 3, (Column("k", "int64", 0, [1, 2, 3]), Column("v", "int64", 0, [10, 20, 30]))))


def terms_of(authority: ProvisioningAuthority, identity: bytes, conditions: bytes | None = None) -> Terms:
    policy = AppraisalPolicy("task", simulations=frozenset({authority.fingerprint}))
    digest = hashlib.sha256(QUERY).digest()
    return Terms(
        host=HOST,
        owners=OWNERS,
        receivers=(RECEIVER,),
        algorithm=digest,
        conditions=CONDITIONS if conditions is None else conditions,
        identities=frozenset({identity}),
        policy=policy,
        simulated=True,
        output=10_000,
        seconds=30.0,
    )


def closed(session: Session) -> None:
    """Tells all others that this party has ended."""
    for channel in session.channels.values():
        channel.close()


def played(terms: Terms, launch: Callable[[], Any]) -> list[Any]:
    """What each of the four parties ends with: its result, or what it raised."""
    sessions = [replace(session, context=CONTEXT) for session in local_sessions(4)]

    def side(session: Session) -> Finished | Exception:
        me = session.index
        data = table("abc"[me]) if me in OWNERS else None
        try:
            return joint.run(session, terms, data, launch if me == HOST else None)
        except Exception as error:
            closed(session)
            return error

    with ThreadPoolExecutor(4) as pool:
        return list(pool.map(side, sessions))


def test_owners_seal_to_what_they_appraised_and_only_the_receiver_reads() -> None:
    exported, password = hosting.throw_away()
    authority = ProvisioningAuthority.restore(exported, password)
    manifest = EnclaveManifest(
        QUERY, bytes(32), "sql", limits=Limits(memory=2 << 30, heap=64 << 20, output=10_000, minimum_group=2)
    )
    ours, theirs = socket.socketpair()
    served = threading.Thread(
        target=hosting.main, args=(theirs, hosting.authority_frame(exported, password, bytes(32))), daemon=True
    )
    served.start()
    try:
        enclave = HostedEnclave(ours, manifest)
    except EnclaveRefused as refused:
        if "not in force on this host" not in str(refused):
            raise
        pytest.skip(str(refused))
    body = read_quote(read_evidence(enclave.attest(bytes(32))).raw).body
    assert body.mrenclave == manifest.measurement
    found = played(terms_of(authority, body.identity, manifest.conditions), lambda: enclave)
    ours.close()
    served.join(60)
    assert not served.is_alive()
    assert [each.output for each in found] == [None, None, None, b"group_size,total\n3,180\n"]
    assert len({(each.commitments, each.digest, each.quote) for each in found}) == 1
    assert {each.result.strength for each in found} == {"attested, simulated"}
    assert hashlib.sha256(found[RECEIVER].salt + found[RECEIVER].output).digest() == found[0].digest


class Platform:
    """A host that answers with genuine evidence of a simulated platform, or with what a test makes of it."""

    def __init__(self, authority: ProvisioningAuthority, **changes: Any) -> None:
        self.identity = EnclaveIdentity(mrenclave=b"\x01" * 32, mrsigner=bytes(32), config_id=bytes(64), **changes)
        self._platform, self._authority = SimulatedPlatform(authority), authority
        self.public_key = b"\x09" * 32
        self.report = lambda nonce: runs.key_digest(self.public_key) + fresh(CONDITIONS, nonce)

    @property
    def digest(self) -> bytes:
        return read_quote(self._platform.quote_enclave(self.identity, bytes(64))).body.identity

    def attest(self, nonce: bytes) -> bytes:
        return self.document(self.report(nonce))

    def document(self, report: bytes) -> bytes:
        return write_evidence(
            Evidence(self._platform.quote_enclave(self.identity, report), self._authority.collateral(SGX, WINDOW))
        )

    def compute(self, inputs: list[bytes], receivers: list[bytes], context: bytes, seconds: float) -> tuple[TaskRun, bytes]:
        raise AssertionError("no owner gives its input to this host")


@pytest.fixture(scope="module")
def authority() -> ProvisioningAuthority:
    return ProvisioningAuthority(WINDOW)


def refusal(terms: Terms, platform: Platform, owner: int = 1) -> str:
    """Why an owner refuses a platform's evidence before it gives its input."""
    document = platform.attest(joint.nonce(CONTEXT, owner))
    expected = terms.before(platform.public_key, joint.nonce(CONTEXT, owner))
    with pytest.raises(ProtocolViolation) as caught:
        joint._accepted(terms, document, expected, "evidence of the enclave")
    assert caught.value.peer == HOST
    return caught.value.rule


def test_an_owner_accepts_the_evidence_that_the_task_asks_for(authority: ProvisioningAuthority) -> None:
    platform = Platform(authority)
    document = platform.attest(joint.nonce(CONTEXT, 1))
    expected = terms_of(authority, platform.digest).before(platform.public_key, joint.nonce(CONTEXT, 1))
    assert terms_of(authority, platform.digest).appraise(document, expected).simulated


def test_an_owner_refuses_other_evidence_and_says_by_which_rule(authority: ProvisioningAuthority) -> None:
    good = Platform(authority)
    terms = terms_of(authority, good.digest)
    assert "703" in refusal(replace(terms, identities=frozenset({bytes(32)})), good)
    debug = Platform(authority, attributes=bytes([0x07]) + bytes(15))
    assert "702" in refusal(terms_of(authority, debug.digest), debug)
    for other in (joint.nonce(b"\x06" * 32, 1), joint.nonce(CONTEXT, 2)):  # an earlier attempt's, another owner's
        stale = Platform(authority)
        stale.report = lambda _, stale=stale, other=other: runs.key_digest(stale.public_key) + fresh(CONDITIONS, other)
        assert "704" in refusal(terms, stale)
    other_key = Platform(authority)
    other_key.report = lambda nonce: runs.key_digest(b"\x08" * 32) + fresh(CONDITIONS, nonce)
    assert "704" in refusal(terms, other_key)
    assert "704" in refusal(replace(terms, conditions=bytes(32)), good)  # other limits
    stranger = Platform(ProvisioningAuthority(WINDOW))
    assert "204" in refusal(terms, stranger)
    assert "another family" in refusal(replace(terms, simulated=False), good)
    assert "204" in refusal(replace(terms, policy=AppraisalPolicy("hardware")), good)
    key = good._platform._pck_key.public_key().public_numbers()
    known = {key.x.to_bytes(32, "big") + key.y.to_bytes(32, "big"): WINDOW}
    for standing in (Standing(frozenset(), known), Standing(terms.identities, {})):
        assert "716" in refusal(replace(terms, standing=Standing.from_json(standing.to_json())), good)
    document = good.attest(joint.nonce(CONTEXT, 1))
    expected = terms.before(good.public_key, joint.nonce(CONTEXT, 1))
    allowed = Standing.from_json(json.loads(json.dumps(Standing(terms.identities, known).to_json())))
    assert replace(terms, standing=allowed).appraise(document, expected).simulated


def test_no_owner_seals_anything_to_a_host_whose_evidence_it_refuses(authority: ProvisioningAuthority) -> None:
    platform = Platform(authority)
    platform.report = lambda _: runs.key_digest(platform.public_key) + bytes(32)
    terms = replace(terms_of(authority, platform.digest), owners=(1,))
    sessions = [replace(session, context=CONTEXT) for session in local_sessions(4)]

    def side(session: Session) -> Exception | None:
        try:
            joint.run(
                session, terms, table("b") if session.index == 1 else None, (lambda: platform) if session.index == HOST else None
            )
        except Exception as error:
            closed(session)
            return error
        return None

    with ThreadPoolExecutor(4) as pool:
        ended = list(pool.map(side, sessions))
    assert isinstance(ended[1], ProtocolViolation) and "policy.report-data" in str(ended[1])
    assert "closed the link" in str(ended[HOST])


def test_a_host_cannot_pass_off_another_output_or_another_enclave_after_the_run(authority: ProvisioningAuthority) -> None:
    platform = Platform(authority)
    terms = terms_of(authority, platform.digest)
    commitments = [bytes([each]) * 32 for each in OWNERS]

    def evidence(
        context: bytes = CONTEXT, code: bytes = terms.algorithm, inputs: list[bytes] = commitments, digest: bytes = b"o" * 32
    ) -> bytes:
        key = hashlib.sha256(platform.public_key).digest()
        return platform.document(runs.task_digest(context, code, inputs, digest) + key)

    bound = runs.task_digest(CONTEXT, terms.algorithm, commitments, b"o" * 32) + hashlib.sha256(platform.public_key).digest()
    assert joint._accepted(terms, evidence(), bound, "evidence of the run").simulated
    for other in (
        evidence(context=bytes(32)),
        evidence(code=bytes(32)),
        evidence(inputs=commitments[::-1]),
        evidence(digest=bytes(32)),
        platform.attest(bytes(32)),
    ):
        with pytest.raises(ProtocolViolation, match="report-data"):
            joint._accepted(terms, other, bound, "evidence of the run")


CHEATS = {
    "nothing": "",
    "another enclave": "is of another enclave",
    "garbage": "does not open",
    "another output": "is not the one that the evidence names",
    "too much": "announces",
}


@pytest.mark.parametrize("cheat", CHEATS)
def test_a_receiver_gets_the_output_of_the_enclave_that_it_sealed_to(authority: ProvisioningAuthority, cheat: str) -> None:
    """The host is played message by message, with the enclave's key in its hands."""
    key, platform = X25519PrivateKey.generate(), Platform(authority)
    platform.public_key = key.public_key().public_bytes_raw()
    terms = replace(terms_of(authority, platform.digest), owners=(1,), receivers=(1,), output=100)
    host, owner = (replace(session, context=CONTEXT) for session in local_sessions(2))
    code = terms.code(CONTEXT)

    def play() -> None:
        channel = host.channels[1]
        receiver = channel.receive()
        channel.send(platform.public_key + platform.attest(joint.nonce(CONTEXT, 1)))
        commitment = channel.receive()
        sealed = joint._receive(host, 1, 10_000, "sealed input")
        salted = runs.unseal(key, sealed, runs.input_context(code, [receiver], 0))
        assert salted[64:] == table("b") and runs.commitment(salted[:32], salted[64:]) == commitment
        assert salted[32:64] == runs.inputs_digest([commitment])
        output = b"s" * 32 + b"42"
        digest = hashlib.sha256(output + b"!" * (cheat == "another output")).digest()
        told = bytes(32) if cheat == "another enclave" else platform.public_key
        bound = runs.task_digest(CONTEXT, terms.algorithm, [commitment], digest) + hashlib.sha256(platform.public_key).digest()
        channel.send(told + digest + platform.document(bound))
        context = runs.output_context(code, [receiver], [bytes(32) if cheat == "garbage" else commitment])
        joint._send(host, 1, runs.seal(receiver, output, context) + bytes(200 if cheat == "too much" else 0))

    with ThreadPoolExecutor(1) as pool:
        played = pool.submit(play)
        if not CHEATS[cheat]:
            found = joint.run(owner, terms, table("b"), None)
            assert (found.salt, found.output) == (b"s" * 32, b"42")
        else:
            with pytest.raises(ProtocolViolation, match=CHEATS[cheat]) as caught:
                joint.run(owner, terms, table("b"), None)
            assert caught.value.peer == HOST
        played.result(120)


@pytest.mark.parametrize("document", [b"", b"{}", b"\xff" * 100])
def test_what_is_no_evidence_is_refused(authority: ProvisioningAuthority, document: bytes) -> None:
    with pytest.raises(ProtocolViolation):
        joint._accepted(terms_of(authority, bytes(32)), document, bytes(64), "evidence of the enclave")


class Watched:
    """A channel that writes down what passes."""

    def __init__(self, channel: Any, log: list[tuple[str, int, bytes]]) -> None:
        self._channel, self._log = channel, log

    def __getattr__(self, name: str) -> Any:
        return getattr(self._channel, name)

    def send(self, message: Any) -> None:
        self._log.append(("sent", self._channel.peer, bytes(message)))
        self._channel.send(message)

    def receive(self) -> bytes:
        found: bytes = self._channel.receive()
        self._log.append(("received", self._channel.peer, found))
        return found


class Keeping(Platform):
    """A host whose enclave's key is in the test's hands; it keeps the inputs that it is given, and ends."""

    def __init__(self, authority: ProvisioningAuthority) -> None:
        super().__init__(authority)
        self.key = X25519PrivateKey.generate()
        self.public_key = self.key.public_key().public_bytes_raw()
        self.given: tuple[list[bytes], list[bytes]] = ([], [])

    def compute(self, inputs: list[bytes], receivers: list[bytes], context: bytes, seconds: float) -> tuple[TaskRun, bytes]:
        self.given = (inputs, receivers)
        raise EnclaveFailed("Ended")


def test_an_owners_rows_leave_it_once_sealed_to_the_key_that_it_appraised_and_in_no_other_form(
    authority: ProvisioningAuthority,
) -> None:
    """What docs/explanation/attestation.md says of the way of an owner's rows into an enclave."""
    platform = Keeping(authority)
    terms = replace(terms_of(authority, platform.digest), owners=(1, 2))
    sessions = [replace(session, context=CONTEXT) for session in local_sessions(4)]
    log: list[tuple[str, int, bytes]] = []
    sessions[1] = replace(sessions[1], channels={peer: Watched(each, log) for peer, each in sessions[1].channels.items()})
    marker = b"A ROW OF THIS OWNER"
    rows = encode(Table("b", 2, (Column("k", "string", 0, [marker.decode()] * 2),)))

    def side(session: Session) -> Exception | None:
        data = {1: rows, 2: table("c")}.get(session.index)
        try:
            joint.run(session, terms, data, (lambda: platform) if session.index == HOST else None)
        except Exception as error:
            closed(session)
            return error
        return None

    with ThreadPoolExecutor(4) as pool:
        ended = list(pool.map(side, sessions))
    assert isinstance(ended[HOST], EnclaveFailed)
    evidence = next(place for place, (way, peer, _) in enumerate(log) if (way, peer) == ("received", HOST))
    assert not [each for each in log[:evidence] if each[0] == "sent"]  # nothing before the evidence, which it then accepted
    sent = [(peer, message) for way, peer, message in log if way == "sent"]
    (inputs, receivers), code = platform.given, terms.code(CONTEXT)
    told = {message for _, message in sent if len(message) == 32}
    assert len(told) == 1 and sorted(peer for peer, message in sent if message in told) == [0, 2, 3]  # one commitment, to all
    assert [(peer, message) for peer, message in sent if message not in told] == [
        (HOST, len(inputs[0]).to_bytes(8, "big")),
        (HOST, inputs[0]),
    ]
    assert not any(marker in message for _, message in sent)
    opened = runs.unseal(platform.key, inputs[0], runs.input_context(code, receivers, 0))
    assert opened[64:] == rows and {runs.commitment(opened[:32], rows)} == told
    for key, context in (
        (X25519PrivateKey.generate(), runs.input_context(code, receivers, 0)),  # another enclave
        (platform.key, runs.input_context(terms.code(bytes(32)), receivers, 0)),  # another attempt
        (platform.key, runs.input_context(code, [bytes([9]) * 32], 0)),  # another receiver
        (platform.key, runs.input_context(code, receivers, 1)),  # another owner's place
    ):
        with pytest.raises(InvalidTag):
            runs.unseal(key, inputs[0], context)
