"""The key service asks the chain: a key goes out for an attempt that runs and debited the key's grant, to what counts there, and
over mutual TLS from a server whose replicas keep a signed record of each decision."""

from __future__ import annotations

import json
import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from contracts.conftest import DAY, Case, World
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from tallystick.attestation import runs
from tallystick.attestation.documents import write_evidence, write_policy
from tallystick.attestation.policy import AppraisalPolicy
from tallystick.attestation.quote import SGX, read_quote
from tallystick.attestation.simulation.authority import ProvisioningAuthority
from tallystick.attestation.simulation.platform import EnclaveIdentity, SimulatedPlatform
from tallystick.attestation.verifier import Evidence
from tallystick.chain.connection import Chain
from tallystick.chain.enclaves import key_words, register_platform
from tallystick.protocol import canonical
from tallystick.protocol.audit import AuditRecord
from tallystick.protocol.errors import Configuration, Refused
from tallystick.protocol.identity import Certificate, issue_authority, issue_certificate
from tallystick.protocol.proof.subject import context_of
from tallystick.protocol.signature import verify_signature
from tallystick_node.engines.tee.frames import Messages, StreamBroken
from tallystick_node.engines.tee.keys import Decision, KeyRefused, KeyService, ask
from tallystick_node.engines.tee.locked import Use, opened
from tallystick_node.engines.tee.manifest import fresh
from tallystick_node.keys.permits import ChainPermits, load
from tallystick_node.keys.server import AuditFile, KeyServer, tls

DATA_KEY = "2a" * 32
ENCLAVE = X25519PrivateKey.from_private_bytes(b"\x11" * 32)
PUBLIC = ENCLAVE.public_key().public_bytes_raw()
CODE, CONDITIONS, RECEIVER = b"\x02" * 32, b"\x05" * 32, b"\x03" * 32


@dataclass
class Institution:
    """A running task, an enclave on a platform that the chain knows, and the file of one key for it."""

    world: World
    case: Case
    platform: SimulatedPlatform
    authority: ProvisioningAuthority
    identity: bytes
    keys: Path

    @property
    def use(self) -> Use:
        deployment, task = self.world.deployment, self.case.proposal.id()
        context = context_of(deployment.chain_id, deployment.contracts["ProofRegistry"], task, 1)
        return Use("accounts", context, CODE, CONDITIONS, (RECEIVER,), 0, b"\x04" * 32, f"{canonical.hex32(task)}/1")

    @property
    def permits(self) -> ChainPermits:
        return ChainPermits(load(self.keys)[1], self.world.chain)

    def attest(self, nonce: bytes) -> bytes:
        quote = self.platform.quote_enclave(
            EnclaveIdentity(bytes(32), bytes(32)), runs.key_digest(PUBLIC) + fresh(CONDITIONS, nonce)
        )
        return write_evidence(Evidence(quote, self.authority.collateral(SGX, (self.world.now - DAY, self.world.now + DAY))))


@pytest.fixture
def institution(case: Case, tmp_path: Path) -> Institution:
    world = case.world
    authority = ProvisioningAuthority((world.now - DAY, world.now + DAY))
    platform = SimulatedPlatform(authority)
    quote = platform.quote_enclave(EnclaveIdentity(bytes(32), bytes(32)), bytes(64))
    identity = read_quote(quote).body.identity
    world.chain.simulation.name_authority(*key_words(authority.intermediate))
    register_platform(world.chain, quote)
    world.chain.simulation.allow(identity)
    entry = {
        "key": DATA_KEY,
        "grants": [canonical.hex32(case.grants[0].id())],
        "conditions": [canonical.text(CONDITIONS)],
        "receivers": [RECEIVER.hex()],
        "enclaves": [canonical.text(identity)],
        "proof": "attested-simulated",
        "policy": json.loads(write_policy(AppraisalPolicy("keys", simulations=frozenset({authority.fingerprint})))),
    }
    return Institution(world, case, platform, authority, identity, written(tmp_path / "keys.json", {"accounts": entry}))


def written(path: Path, entries: dict[str, Any]) -> Path:
    path.touch(0o600)
    path.write_text(json.dumps({"keys": entries}))
    return path


def why(permits: ChainPermits, use: Use) -> str:
    with pytest.raises(KeyRefused) as refused:
        permits(use)
    return f"{refused.value.rule}: {refused.value.message}"


def test_a_key_is_permitted_while_the_attempt_runs_that_debited_its_grant(institution: Institution) -> None:
    case, use, permits = institution.case, institution.use, institution.permits
    assert "does not run" in why(permits, use)
    case.propose()
    assert "does not run" in why(permits, use)
    institution.world.accept(case.proposal, case.grants)
    accepted = permits(use)
    assert (accepted.identities, accepted.simulated) == (frozenset({institution.identity}), True)
    assert accepted.standing is not None and len(accepted.standing.platforms) == 1
    other = institution.world
    task = canonical.hex32(case.proposal.id())
    assert "key.unknown" in why(permits, replace(use, name="other"))
    assert "not for this code" in why(permits, replace(use, conditions=bytes(32)))
    assert "not for these receivers" in why(permits, replace(use, receivers=(RECEIVER, bytes(32))))
    assert "not for these receivers" in why(permits, replace(use, receivers=()))
    assert "another attempt" in why(permits, replace(use, context=bytes(32)))
    assert "another attempt" in why(permits, replace(use, run=f"{task}/2"))
    assert "another attempt" in why(permits, replace(use, run=f"{task}/300"))
    assert "key.request" in why(permits, replace(use, run=f"{task}/0"))
    owner = next(actor for actor in other.parties if actor.address == case.proposal.parties[0].account)
    granted = next(grant for grant in case.grants if grant.id() == case.proposal.parties[0].grant)
    assert granted is case.grants[0]
    owner.send("GrantLedger", "revoke", granted.as_tuple())
    assert "revoked" in why(permits, use)


def test_a_key_is_not_permitted_once_the_time_of_the_attempt_has_passed(institution: Institution) -> None:
    """Nobody has reported the task, so it still stands as one that runs."""
    institution.case.start()
    assert institution.permits(institution.use).simulated
    institution.world.travel(institution.case.proposal.run_seconds + 1)
    assert "does not run" in why(institution.permits, institution.use)


def test_a_debit_is_found_by_pages_from_the_head_back_to_the_beginning_of_the_attempt(institution: Institution) -> None:
    institution.world.travel(10)  # what was before is earlier, in seconds too
    institution.case.start()
    for _ in range(5):
        institution.world.chain.request("evm_mine")
    deployment = institution.world.deployment
    chain = Chain(institution.world.url, deployment, profile=replace(institution.world.chain.profile, log_page=2))
    read: list[int] = []
    pages = chain.log_pages
    chain.log_pages = lambda first, last: (read.append(first), pages(first, last))[1]  # type: ignore[method-assign]
    permits = ChainPermits(load(institution.keys)[1], chain)
    assert permits(institution.use).simulated
    read.clear()
    assert permits(institution.use).simulated
    assert min(read) > 0 and read == sorted(read, reverse=True)
    entry = replace(load(institution.keys)[1]["accounts"], grants=frozenset({bytes(32)}))
    read.clear()
    assert "no grant of this key was debited" in why(ChainPermits({"accounts": entry}, chain), institution.use)
    assert min(read) > 0


def test_a_grant_that_was_not_debited_and_a_chain_that_is_silent_give_nothing(institution: Institution) -> None:
    institution.case.start()
    keys, entries = load(institution.keys)
    entry = replace(entries["accounts"], grants=frozenset({bytes(32)}))
    assert "no grant of this key was debited" in why(ChainPermits({"accounts": entry}, institution.world.chain), institution.use)

    class Silent:
        deployment = institution.world.deployment

        def head(self) -> int:
            raise Configuration("no answer")

    assert "key.service" in why(ChainPermits(entries, Silent()), institution.use)  # type: ignore[arg-type]
    assert DATA_KEY not in repr(entries) and keys["accounts"] == bytes.fromhex(DATA_KEY)


@contextmanager
def serving(institution: Institution, folder: Path, log: Path) -> Iterator[tuple[int, Any]]:
    """A replica: its port, and how the requester of the world connects to it; the stranger's certificate is not enrolled."""
    world, ca = institution.world, ec.generate_private_key(ec.SECP256R1())
    window = (world.now - DAY, world.now + DAY)
    authority = issue_authority("consortium", ca, window)
    (folder / "ca.pem").write_bytes(authority.pem)
    for name, actor in (("server", world.parties[0]), ("requester", world.requester), ("stranger", world.stranger)):
        key = ec.generate_private_key(ec.SECP256R1())
        made = issue_certificate(authority, ca, key.public_key(), actor.address, name, ["localhost"], ["requester"], window)
        (folder / f"{name}.pem").write_bytes(made.pem)
        (folder / f"{name}.key").write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    record = AuditFile(log, world.parties[0].signer, world.deployment.chain_id)
    keys, entries = load(institution.keys)
    permits = ChainPermits(entries, world.chain)

    def admit(certificate: Certificate) -> str:
        if certificate.account != world.requester.address:
            raise Refused("not enrolled", rule="participant-certificate", party=certificate.account, remedy="enrol")
        return certificate.account

    server = KeyServer(
        "127.0.0.1:0",
        tls(folder / "server.key", folder / "server.pem", folder / "ca.pem", listening=True),
        admit,
        lambda account: KeyService(keys, permits, lambda decision: record(decision, account)),
    )
    thread = threading.Thread(target=server.serve, daemon=True)
    thread.start()

    def asked(name: str = "requester", **change: Any) -> bytes:
        context = tls(folder / f"{name}.key", folder / f"{name}.pem", folder / "ca.pem", listening=False)
        plain = socket.create_connection(("127.0.0.1", server.port), timeout=30)
        with plain, context.wrap_socket(plain, server_hostname="localhost") as secure:
            return ask(Messages(secure, 30, 1 << 20), replace(institution.use, **change), PUBLIC, institution.attest)

    try:
        yield server.port, asked
    finally:
        server.close()
        thread.join(30)
        record.close()


def test_replicas_answer_each_for_itself_and_keep_signed_records(institution: Institution, tmp_path: Path) -> None:
    institution.case.start()
    folders = [tmp_path / name for name in ("one", "two")]
    for folder in folders:
        folder.mkdir()
    first, second = (folder / "log" for folder in folders)
    with serving(institution, folders[1], second) as (_, other):
        with serving(institution, folders[0], first) as (_, asked):
            assert opened(ENCLAVE, asked(), institution.use.sealing())[0].hex() == DATA_KEY
            with pytest.raises(KeyRefused, match="another attempt"):
                asked(context=bytes(32))
            with pytest.raises(StreamBroken):
                asked("stranger")
            with pytest.raises(Configuration, match="cannot be written"):
                AuditFile(first, institution.world.parties[0].signer, 1)
        with pytest.raises(OSError):  # it is gone
            asked()
        assert opened(ENCLAVE, other(), institution.use.sealing())[0].hex() == DATA_KEY
        institution.world.chain.simulation.disallow(institution.identity, bytes(32))
        with pytest.raises(KeyRefused, match="standing"):
            other()
    for log, expected in ((first, ["", "key.use"]), (second, ["", "policy.standing"])):
        records = [AuditRecord.parse(line) for line in log.read_bytes().splitlines()]
        assert [record.rule for record in records] == expected
        for record in records:
            verify_signature(record.account, record.digest(), record.signature)
            assert record.party == institution.world.requester.address
        assert DATA_KEY not in log.read_text()
    log = AuditFile(first, institution.world.parties[0].signer, 1)  # goes on where it ended
    assert log._count == 2
    log.close()
    first.write_bytes(first.read_bytes()[:-20])
    with pytest.raises(Configuration, match="damaged"):
        AuditFile(first, institution.world.parties[0].signer, 1)


def test_a_decision_that_cannot_be_kept_leaves_no_line_behind(
    institution: Institution, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    signer, path = institution.world.parties[0].signer, tmp_path / "log"
    log = AuditFile(path, signer, 1)
    most = replace(institution.use, name="\u00e4" * 64, receivers=(RECEIVER,) * 64)
    decision = Decision(most, PUBLIC, "key.use", "x" * 2000)
    log(decision, signer.address)

    def full(descriptor: int) -> None:
        raise OSError(28, "no space left")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(OSError, match="no space"):
            log(decision, signer.address)
    log(replace(decision, use=None), signer.address)
    log.close()
    AuditFile(path, signer, 1).close()
    assert [AuditRecord.parse(line).index for line in path.read_bytes().splitlines()] == [0, 1]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"key": "2A" * 32}, "key: must be 64"),
        ({"key": ""}, "key"),
        ({"grants": []}, "grants"),
        ({"receivers": ["zz" * 32]}, "receivers"),
        ({"proof": "signed-by-all"}, "proof"),
        ({"proof": "attested-hardware"}, "policy: names roots of simulation"),
        ({"policy": {}}, "policy"),
        ({"more": 1}, "may not have"),
    ],
)
def test_a_file_of_keys_says_what_is_wrong_and_no_key(change: dict[str, Any], said: str, tmp_path: Path) -> None:
    entry = {
        "key": DATA_KEY,
        "grants": ["0x" + "01" * 32],
        "conditions": [canonical.text(CONDITIONS)],
        "receivers": [RECEIVER.hex()],
        "enclaves": ["sha256:" + "01" * 32],
        "proof": "attested-simulated",
        "policy": json.loads(write_policy(AppraisalPolicy("keys", simulations=frozenset({bytes(32)})))),
    }
    assert load(written(tmp_path / "good", {"a": entry}))[0] == {"a": bytes.fromhex(DATA_KEY)}
    with pytest.raises(Configuration, match=said) as refused:
        load(written(tmp_path / "bad", {"a": {**entry, **change}}))
    assert DATA_KEY not in str(refused.value)
    (tmp_path / "open").write_text("{}")
    (tmp_path / "open").chmod(0o640)
    with pytest.raises(Configuration, match="open to others"):
        load(tmp_path / "open")
