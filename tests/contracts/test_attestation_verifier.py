"""The contracts behind `attested-hardware` and `attested-simulated`: a quote about the task passes, nothing else that all sign."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from contextlib import AbstractContextManager
from copy import copy
from dataclasses import dataclass, field, replace
from hashlib import sha256
from typing import Any

import pytest
from contracts.conftest import DAY, KIND, Case, World, b32, refused
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from eth_utils import keccak
from tallystick.attestation.quote import SGX, TDX, read_quote
from tallystick.attestation.runs import task_digest
from tallystick.attestation.simulation import platform as simulated
from tallystick.attestation.simulation.authority import (
    PCK,
    TOP,
    ProvisioningAuthority,
    Subject,
    certificate,
    new_key,
    sgx_extension,
)
from tallystick.attestation.simulation.platform import (
    DomainIdentity,
    EnclaveIdentity,
    SimulatedPlatform,
    sgx_report,
    td_report,
)
from tallystick.attestation.task_quote import TaskQuote
from tallystick.chain.connection import Receipt
from tallystick.protocol import typed
from tallystick.protocol.errors import ContractRefused
from tallystick.protocol.proof.attested import AttestedRun
from tallystick.protocol.proof.subject import context_of
from tallystick.protocol.task import ATTESTED_HARDWARE, ATTESTED_SIMULATED, Proposal
from unit.attestation import vectors

HARDWARE, SIMULATION = "HardwareVerifier", "SimulationVerifier"
ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
ENCLAVE = EnclaveIdentity(sha256(b"code").digest(), sha256(b"publisher").digest(), config_id=bytes(range(64)))
DOMAIN = DomainIdentity(sha256(b"firmware").digest() + bytes(16))
NO_WORD = bytes(32)
INTERMEDIATES = (  # under Intel's SGX Root CA: Intel SGX PCK Platform CA, Intel SGX PCK Processor CA
    (
        "35207feeddb595748ed82bb3a71c3be1e241ef61320c6816e6b5c2b71dad5532",
        "eaea12a4eb3f948916429ea47ba6c3af82a15e4b19664e52657939a2d96633de",
    ),
    (
        "bf6af8d329d883a0b5d9756e4fee599e7e4c6426f1a0a2f33efc7ecf9f282437",
        "77eb83cd79d54c04f66610c289fc88b89c2f377c0d069f621c1492309309ac13",
    ),
)
with_precompile = pytest.mark.skipif(KIND != "anvil", reason="without the P-256 precompile Ganache takes seconds for each quote")


def bad(rule: str) -> AbstractContextManager[Any]:
    """The block ends in `BadProof` with this rule."""
    return pytest.raises(ContractRefused, match=f"BadProof.*{rule}")


def words(key: Any) -> tuple[bytes, bytes]:
    """A public key's coordinates."""
    point = key.public_numbers()
    return b32(point.x), b32(point.y)


def registration(made: x509.Certificate, issuer: Any) -> tuple[bytes, tuple[bytes, bytes], bytes, bytes]:
    """What `registerPlatform` takes of a certificate."""
    r, s = decode_dss_signature(made.signature)
    return made.tbs_certificate_bytes, (b32(r), b32(s)), *words(issuer)


def flip(data: bytes, at: int) -> bytes:
    """One bit of one byte changed."""
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


def negated(data: bytes, at: int) -> bytes:
    """The signature at ``at`` with its s in the other half."""
    return data[: at + 32] + b32(ORDER - int.from_bytes(data[at + 32 : at + 64], "big")) + data[at + 64 :]


@dataclass
class Network:
    """A simulation authority that the governor named, one registered platform, and enclaves that are allowed."""

    world: World
    authority: ProvisioningAuthority = field(init=False)
    platform: SimulatedPlatform = field(init=False)

    def __post_init__(self) -> None:
        self.authority = ProvisioningAuthority((self.world.now - DAY, self.world.now + 30 * DAY))
        self.platform = SimulatedPlatform(self.authority)
        self.govern("nameAuthority", *words(self.authority.pck_key.public_key()))
        self.register(self.platform.pck)
        for quote in (self.platform.quote_enclave(ENCLAVE, bytes(64)), self.platform.quote_domain(DOMAIN, bytes(64))):
            self.govern("allow", TaskQuote.cut(quote).report.identity)

    def govern(self, function: str, *arguments: Any) -> Receipt:
        return self.world.governor.send(SIMULATION, function, *arguments)

    def register(self, made: x509.Certificate, authority: ProvisioningAuthority | None = None, at: str = SIMULATION) -> Receipt:
        issuer = (authority or self.authority).pck_key.public_key()
        return self.world.stranger.send(at, "registerPlatform", *registration(made, issuer))

    def appraise(self, quote: TaskQuote, at: str = SIMULATION) -> Any:
        return self.world.call(at, "appraise", quote.platform[:32], quote.platform[32:], quote.signed, quote.endorsement)


@dataclass
class Run(Network):
    """An attempt of a three-party task; the third party gives no commitment."""

    proposal: Proposal
    algorithm: bytes = sha256(b"select 1").digest()
    output: bytes = sha256(b"salted output").digest()
    commitments: tuple[bytes, ...] = (sha256(b"first").digest(), sha256(b"second").digest(), NO_WORD)

    def another(self, case: Case, kind: str = ATTESTED_SIMULATED) -> Run:
        """Another task of the same parties, started."""
        made = copy(self)
        made.proposal = self.world.proposal(case.grants, proof_kind=typed.proof_kind(kind))
        self.world.requester.send("TaskLedger", "propose", made.proposal.as_tuple())
        self.world.accept(made.proposal, case.grants)
        return made

    def about(self, **changes: Any) -> bytes:
        """Report data of this attempt, or of what ``changes`` say."""
        deployment = self.world.deployment
        context = {
            "chain_id": deployment.chain_id,
            "registry": deployment.contracts["ProofRegistry"],
            "task": self.proposal.id(),
            "attempt": 1,
        }
        run = {"algorithm": self.algorithm, "commitments": self.commitments, "output": self.output}
        given = {**context, **run, **changes}
        found = context_of(*(given[name] for name in context))
        inputs = [each for each in given["commitments"] if each != NO_WORD]
        return task_digest(found, given["algorithm"], inputs, given["output"]) + sha256(b"key of the enclave").digest()

    def quote(self, enclave: EnclaveIdentity = ENCLAVE, **changes: Any) -> bytes:
        return self.platform.quote_enclave(enclave, self.about(**changes))

    def of(self, quote: bytes) -> AttestedRun:
        return AttestedRun.of_quote(self.algorithm, self.output, quote)

    def proof(self, run: AttestedRun | None = None) -> bytes:
        return b"".join(self.commitments) + (run or self.of(self.quote())).to_bytes()

    def result(self, proof: bytes, **changes: Any) -> typed.Result:
        """What all sign of these proof bytes, be they good or bad."""
        return self.world.result(self.proposal, inputs=keccak(proof[:96]), output=keccak(proof), **changes)

    def arguments(self, proof: bytes, result: typed.Result | None = None) -> tuple[Any, ...]:
        made = result or self.result(proof)
        return self.proposal.as_tuple(), made.as_tuple(), self.world.signatures(self.proposal, made), proof

    def try_out(self, proof: bytes, result: typed.Result | None = None) -> None:
        """As :meth:`prove`, and nothing changes."""
        self.world.call("ProofRegistry", "submit", *self.arguments(proof, result))

    def prove(self, proof: bytes, result: typed.Result | None = None) -> Receipt:
        return self.world.relayer.send("ProofRegistry", "submit", *self.arguments(proof, result))


@pytest.fixture
def network(empty: World) -> Network:
    return Network(empty)


@pytest.fixture
def run(case: Case) -> Run:
    case.proposal = replace(case.proposal, proof_kind=typed.proof_kind(ATTESTED_SIMULATED))
    case.start()
    return Run(case.world, case.proposal)


# -- what passes


def test_a_quote_about_the_task_is_verified_once(run: Run) -> None:
    proof = run.proof()
    run.try_out(run.proof(run.of(run.platform.quote_domain(DOMAIN, run.about()))))
    run.try_out(run.proof(run.of(run.platform.quote(4, SGX, sgx_report(ENCLAVE, run.about())))))
    run.try_out(run.proof(run.of(run.platform.quote_enclave(ENCLAVE, run.about(), 5))))
    for extended in (False, True):
        run.try_out(run.proof(run.of(run.platform.quote_domain(DOMAIN, run.about(), 5, extended=extended))))
    receipt = run.prove(proof)
    assert run.world.state(run.proposal) == "Proved"
    assert receipt.event("ResultProved")["kind"] == typed.proof_kind(ATTESTED_SIMULATED)
    with refused("WrongState"):
        run.prove(proof)


@with_precompile
def test_contract_and_python_agree_on_what_a_quote_says(network: Network) -> None:
    data = secrets.token_bytes(64)
    made = network.platform
    quotes = [made.quote_enclave(ENCLAVE, data, version) for version in (3, 4, 5)]
    quotes += [made.quote_domain(DOMAIN, data, version) for version in (4, 5)]
    for quote in (*quotes, made.quote_domain(DOMAIN, data, 5, extended=True)):
        cut = TaskQuote.cut(quote)
        assert network.appraise(cut) == {"identity": cut.report.identity, "reportData": data[:32], "reportDataRest": data[32:]}


@with_precompile
def test_signatures_with_s_in_either_half_are_accepted(run: Run) -> None:
    """Genuine hardware makes both."""
    proof = run.proof()
    for at in (len(proof) - 608, len(proof) - 608 + 512):
        proof = negated(proof, at)
        run.try_out(proof)
    for _ in range(2):
        platform = SimulatedPlatform(run.authority)
        tbs, (r, s), *issuer = registration(platform.pck, run.authority.pck_key.public_key())
        for half in (s, b32(ORDER - int.from_bytes(s, "big"))):
            run.world.call(SIMULATION, "registerPlatform", tbs, (r, half), *issuer)


# -- what all parties sign and the contract refuses

REGIONS = {
    # offsets in what follows the commitments
    "algorithm": (0, "report data"),
    "output": (32, "report data"),
    "platform": (64, "not registered"),
    "header: version": (128, "unknown version"),
    "header: key type": (130, "unknown version"),
    "header: tee": (132, "unknown version"),
    "header: SVNs": (136, "not signed by the attestation key"),
    "header: vendor": (140, "not by Intel"),
    "header: user data": (170, "not signed by the attestation key"),
    "body: CPU SVN": (176, "not signed by the attestation key"),
    "body: attributes": (224, "not signed by the attestation key"),
    "body: measurement": (240, "not signed by the attestation key"),
    "body: configuration": (368, "not signed by the attestation key"),
    "body: report data": (496, "not signed by the attestation key"),
    "quote signature: r": (560, "not signed by the attestation key"),
    "quote signature: s": (592, "not signed by the attestation key"),
    "attestation key": (624, "does not vouch"),
    "QE report: CPU SVN": (688, "not signed by the platform"),
    "QE report: signer": (816, "not signed by the platform"),
    "QE report: report data": (1008, "not signed by the platform"),
    "QE signature: r": (1072, "not signed by the platform"),
    "QE signature: s": (1104, "not signed by the platform"),
    "authentication data": (1136, "does not vouch"),
}


@with_precompile
def test_one_bit_of_any_part_is_refused(run: Run) -> None:
    proof = run.proof()
    for offset, rule in REGIONS.values():
        with bad(rule):
            run.try_out(flip(proof, 96 + offset))
    for at in (0, 40):
        with bad("report data"):
            run.try_out(flip(proof, at))
    with bad("report data"):
        run.try_out(flip(proof, 95))  # a party without input has one


@with_precompile
def test_a_body_is_of_the_type_and_size_that_its_header_describes(network: Network) -> None:
    """Versions from 5 on; before that, version and TEE say it."""
    data = bytes(64)
    domain = TaskQuote.cut(network.platform.quote_domain(DOMAIN, data, 5, extended=True))
    for at in (48, 50, 51, 53):
        with bad("unknown version"):
            network.appraise(replace(domain, signed=flip(domain.signed, at)))
    for other, rule in (
        (domain.signed[:-64], "another size"),
        (domain.signed + bytes(1), "another size"),
        (domain.signed[:53], "unknown version"),
        (flip(domain.signed, 0), "unknown version|another size"),
        (domain.signed[:48] + domain.signed[54:], "unknown version"),
    ):
        with bad(rule):
            network.appraise(replace(domain, signed=other))
    served = replace(DOMAIN, mr_service_td=bytes(47) + b"\1")
    with bad("a service domain"):
        network.appraise(TaskQuote.cut(network.platform.quote_domain(served, data, 5, extended=True)))
    debugged = replace(DOMAIN, td_attributes=(1 << 28 | 1).to_bytes(8, "little"))
    with bad("can be debugged"):
        network.appraise(TaskQuote.cut(network.platform.quote_domain(debugged, data, 5, extended=True)))


@with_precompile
def test_a_proof_is_of_one_size(run: Run) -> None:
    proof = run.proof()
    for other, rule in (
        (proof[:-33], "another size"),
        (proof + bytes(33), "another size"),
        (proof[:-1], "does not vouch"),
        (proof[:500], "too short"),
        (proof[:200], "too short"),
        (b"", "too short"),
    ):
        with bad(rule):
            run.try_out(other)


@with_precompile
def test_what_was_not_signed_is_refused(run: Run) -> None:
    proof = run.proof()
    result = run.result(proof)
    with bad("not the one signed"):
        run.try_out(negated(proof, len(proof) - 608), result)
    with bad("commitments are not those signed"):
        run.try_out(proof, replace(result, inputs=secrets.token_bytes(32)))
    stranger = run.world.stranger.signer.sign_digest(typed.result_digest(run.world.domain("ProofRegistry"), result))
    proposal, made, signatures, content = run.arguments(proof, result)
    with refused("BadSignature"):
        run.world.call("ProofRegistry", "submit", proposal, made, [stranger, *signatures[1:]], content)
    with refused("SignatureMissing"):
        run.world.call("ProofRegistry", "submit", proposal, made, signatures[:2], content)


@with_precompile
def test_a_quote_about_anything_else_is_refused(run: Run) -> None:
    first, second, _ = run.commitments
    others: dict[str, Any] = {
        "chain_id": run.world.deployment.chain_id + 1,
        "registry": run.world.stranger.address,
        "task": secrets.token_bytes(32),
        "attempt": 2,
        "algorithm": sha256(b"select 2").digest(),
        "output": sha256(b"another output").digest(),
        "commitments": (second, first, NO_WORD),
    }
    for name, other in others.items():
        with bad("report data"):
            run.try_out(run.proof(run.of(run.quote(**{name: other}))))
    with bad("report data"):
        run.try_out(run.proof(run.of(run.quote(commitments=(first, NO_WORD, NO_WORD)))))


def test_a_quote_is_not_replayed_for_another_task(case: Case, run: Run) -> None:
    proof = run.proof()
    run.prove(proof)
    second = run.another(case)
    with bad("report data"):
        second.try_out(proof)


@with_precompile
def test_only_enclaves_that_are_allowed_and_not_debugged(run: Run) -> None:
    debug = replace(ENCLAVE, attributes=bytes([ENCLAVE.attributes[0] | 2]) + ENCLAVE.attributes[1:])
    enclaves = {
        replace(ENCLAVE, mrenclave=sha256(b"other code").digest()): "not allowed",
        replace(ENCLAVE, config_id=bytes(64)): "not allowed",
        debug: "can be debugged",
    }
    for enclave, rule in enclaves.items():
        with bad(rule):
            run.try_out(run.proof(run.of(run.quote(enclave))))
    domains = {
        replace(DOMAIN, mr_td=bytes(48)): "not allowed",
        replace(DOMAIN, td_attributes=(1 << 29).to_bytes(8, "little")): "not allowed",
        replace(DOMAIN, td_attributes=(1 << 28 | 1).to_bytes(8, "little")): "can be debugged",
        replace(DOMAIN, mr_signer_seam=bytes([1]) + bytes(47)): "module",
        replace(DOMAIN, seam_attributes=bytes([1]) + bytes(7)): "module",
    }
    for domain, rule in domains.items():
        with bad(rule):
            run.try_out(run.proof(run.of(run.platform.quote_domain(domain, run.about()))))
    identity = TaskQuote.cut(run.quote()).report.identity
    with refused("AlreadySo"):
        run.govern("allow", identity)
    assert run.world.call(SIMULATION, "allowed", identity) is True
    run.govern("disallow", identity, bytes(32))
    with refused("AlreadySo"):
        run.govern("disallow", identity, bytes(32))
    assert run.world.call(SIMULATION, "allowed", identity) is False
    with bad("not allowed"):
        run.try_out(run.proof())


def quoting(**changes: Any) -> EnclaveIdentity:
    """The quoting enclave's identity with ``changes``, as the simulated one has it."""
    report = read_quote(SimulatedPlatform(ProvisioningAuthority((0, 1))).quote_enclave(ENCLAVE, bytes(64))).qe_report
    made = EnclaveIdentity(report.mrenclave, report.mrsigner, report.isv_prod_id, report.isv_svn, report.attributes)
    return replace(made, **changes)


@with_precompile
def test_only_the_vendors_quoting_enclave_counts(run: Run) -> None:
    flags = quoting().attributes
    body = sgx_report(ENCLAVE, run.about())
    run.try_out(run.proof(run.of(run.platform.quote(3, SGX, body, quoting()))))
    for enclave, rule in (
        (quoting(mrsigner=sha256(b"somebody").digest()), "not the vendor's"),
        (quoting(isv_prod_id=2), "not the vendor's"),
        (quoting(attributes=bytes([flags[0] | 2]) + flags[1:]), "other attributes"),
        (quoting(attributes=bytes([flags[0] & ~0x10]) + flags[1:]), "other attributes"),
    ):
        with bad(rule):
            run.try_out(run.proof(run.of(run.platform.quote(3, SGX, body, enclave))))
    with bad("not the vendor's"):  # the quoting enclave for SGX does not quote trust domains
        run.try_out(run.proof(run.of(run.platform.quote(4, TDX, td_report(DOMAIN, run.about(), extended=False), quoting()))))


@with_precompile
@pytest.mark.parametrize(("at", "rule"), [(16, "other attributes"), (19, "other attributes"), (352, "vouch"), (383, "vouch")])
def test_a_quoting_enclave_says_nothing_where_its_report_is_empty(
    run: Run, monkeypatch: pytest.MonkeyPatch, at: int, rule: str
) -> None:
    """MISCSELECT, and the second half of what it reports: Intel's has zeros there, and so has what the platform signs."""
    body = sgx_report(ENCLAVE, run.about())
    monkeypatch.setattr(simulated, "sgx_report", lambda *asked: flip(sgx_report(*asked), at))
    with bad(rule):
        run.try_out(run.proof(run.of(run.platform.quote(3, SGX, body))))


# -- platforms


@with_precompile
def test_only_platforms_that_are_registered_and_valid(run: Run) -> None:
    other = SimulatedPlatform(run.authority)
    foreign = run.of(other.quote_enclave(ENCLAVE, run.about()))
    with bad("not registered"):
        run.try_out(run.proof(foreign))
    borrowed = replace(foreign, quote=replace(foreign.quote, platform=run.of(run.quote()).quote.platform))
    with bad("not signed by the platform"):
        run.try_out(run.proof(borrowed))
    run.register(other.pck)
    run.try_out(run.proof(foreign))
    run.govern("revokePlatform", foreign.platform, bytes(32))
    with bad("revoked"):
        run.try_out(run.proof(foreign))
    with refused("PlatformIsRevoked"):
        run.register(other.pck)
    run.try_out(run.proof())


@with_precompile
def test_a_platform_counts_while_its_certificate_is_valid(network: Network) -> None:
    quote = TaskQuote.cut(network.platform.quote_enclave(ENCLAVE, bytes(64)))
    assert network.world.call(SIMULATION, "platformAt", keccak(quote.platform)) == {
        "notBefore": network.world.now - DAY,
        "notAfter": network.world.now + 30 * DAY,
        "revoked": False,
    }
    window = (network.world.now + DAY, network.world.now + 20 * DAY)
    early = ProvisioningAuthority(window, (new_key(), network.authority.pck_key, new_key()))
    with refused("CertificateOutsideValidity"):
        network.register(SimulatedPlatform(early).pck)
    network.world.travel(31 * DAY)
    with bad("outside its certificate's validity"):
        network.appraise(quote)
    with refused("CertificateOutsideValidity"):
        network.register(SimulatedPlatform(network.authority).pck)


def test_a_platform_is_registered_once(network: Network) -> None:
    with refused("PlatformExists"):
        network.register(network.platform.pck)
    other = SimulatedPlatform(network.authority)
    receipt = network.register(other.pck)
    x, y = words(other.pck.public_key())
    assert receipt.event("PlatformRegistered")["platform"] == keccak(x + y)
    network.govern("revokePlatform", secrets.token_bytes(32), bytes(32))  # before anybody registers it
    network.govern("revokePlatform", keccak(x + y), bytes(32))
    with refused("PlatformIsRevoked"):
        network.govern("revokePlatform", keccak(x + y), bytes(32))


def test_a_platforms_certificate_is_replaced_by_one_that_ends_later(network: Network) -> None:
    authority, key = network.authority, network.platform.pck.public_key()
    start, end = authority.window

    def reissued(window: tuple[int, int]) -> Receipt:
        again = ProvisioningAuthority(window, (new_key(), authority.pck_key, new_key()))
        return network.register(again.certify(key, sgx_extension(bytes(16), TOP, 1)), again)

    for window in ((start, end), (start, end - 1), (start - DAY, end)):
        with refused("PlatformExists"):
            reissued(window)
    receipt = reissued((start + 1, end + DAY))
    platform = keccak(b"".join(words(key)))
    assert receipt.event("PlatformRegistered")["platform"] == platform
    found = network.world.call(SIMULATION, "platformAt", platform)
    assert (found["notBefore"], found["notAfter"]) == (start + 1, end + DAY)
    with refused("PlatformExists"):
        network.register(network.platform.pck)
    network.govern("revokePlatform", platform, bytes(32))
    with refused("PlatformIsRevoked"):
        reissued((start + 1, end + 2 * DAY))


@with_precompile
def test_an_authority_that_looks_alike_certifies_nobody(network: Network) -> None:
    alike = ProvisioningAuthority(network.authority.window)
    platform = SimulatedPlatform(alike)
    assert platform.pck.issuer == network.platform.pck.issuer
    with refused("UnknownIssuer"):
        network.register(platform.pck, alike)
    with refused("BadCertificateSignature"):
        network.register(platform.pck)
    tbs, signature, *issuer = registration(network.platform.pck, network.authority.pck_key.public_key())
    for at in range(0, len(tbs), 97):
        with refused("BadCertificateSignature"):
            network.world.call(SIMULATION, "registerPlatform", flip(tbs, at), signature, *issuer)


@with_precompile
def test_a_simulation_never_passes_for_hardware(case: Case, run: Run) -> None:
    with refused("UnknownIssuer"):
        run.register(run.platform.pck, at=HARDWARE)
    hardware = run.another(case, ATTESTED_HARDWARE)
    run.world.governor.send(HARDWARE, "allow", TaskQuote.cut(run.quote()).report.identity)
    with bad("not registered"):
        hardware.try_out(hardware.proof())
    simulated = replace(hardware.result(hardware.proof()), proof_kind=run.proposal.proof_kind)
    with refused("WrongKind"):
        hardware.try_out(hardware.proof(), simulated)


def test_intels_two_intermediates_alone_certify_hardware(world: World) -> None:
    """Both are points of P-256, so that no digit of the constants is mistaken; and each has its own y."""
    points = [(bytes.fromhex(x), bytes.fromhex(y)) for x, y in INTERMEDIATES]
    for x, y in points:
        ec.EllipticCurvePublicNumbers(int.from_bytes(x, "big"), int.from_bytes(y, "big"), ec.SECP256R1()).public_key()
        assert world.call(HARDWARE, "isIssuer", x, y)
    (first, second), (third, fourth) = points
    for other in (
        (first, fourth),
        (third, second),
        (second, first),
        (first, NO_WORD),
        (NO_WORD, NO_WORD),
        words(new_key().public_key()),
    ):
        assert not world.call(HARDWARE, "isIssuer", *other)


@with_precompile
def test_dropping_an_authority_ends_registrations_and_naming_it_begins_them(network: Network) -> None:
    key = words(network.authority.pck_key.public_key())
    with refused("AlreadySo"):
        network.govern("nameAuthority", *key)
    network.govern("dropAuthority", *key)
    with refused("UnknownIssuer"):
        network.register(SimulatedPlatform(network.authority).pck)
    with refused("UnknownIssuer"):
        network.govern("dropAuthority", *key)
    network.appraise(TaskQuote.cut(network.platform.quote_enclave(ENCLAVE, bytes(64))))


CERTIFICATES: dict[str, tuple[Callable[[Network], tuple[bytes, Any]], str]] = {
    "a revocation list": (lambda n: revocation_list(n), "another element"),
    "an authority": (lambda n: issued(n, "SGX PCK Platform CA"), "not a PCK certificate's"),
    "another role": (lambda n: issued(n, "SGX TCB Signing"), "not a PCK certificate's"),
    "on another curve": (lambda n: issued(n, PCK, curve=True), "not on P-256"),
}


def issued(network: Network, role: str, *, curve: bool = False) -> tuple[bytes, Any]:
    key = ec.generate_private_key(ec.SECP384R1()) if curve else new_key()
    made = certificate(Subject(role, key.public_key()), "SGX PCK Platform CA", network.authority.pck_key, network.authority.window)
    return made.tbs_certificate_bytes, decode_dss_signature(made.signature)


def revocation_list(network: Network) -> tuple[bytes, Any]:
    made = x509.load_der_x509_crl(network.authority.pck_crl(network.authority.window))
    return made.tbs_certlist_bytes, decode_dss_signature(made.signature)


@with_precompile
def test_only_pck_certificates_register_platforms(network: Network) -> None:
    """All are signed by the authority's key."""
    for make, rule in CERTIFICATES.values():
        tbs, (r, s) = make(network)
        issuer = words(network.authority.pck_key.public_key())
        with pytest.raises(ContractRefused, match=f"BadCertificate.*{rule}"):
            network.world.call(SIMULATION, "registerPlatform", tbs, (b32(r), b32(s)), *issuer)


@with_precompile
def test_dates_are_read_as_calendars_have_them(network: Network) -> None:
    """Both forms of time, leap days, the last second that X.509 knows."""
    for start in (0, 68169600, 951782400, network.world.now - DAY):
        for end in (2**31 - 1, 2524607999, 2524608000, 4107542399, 253402300799):
            authority = ProvisioningAuthority((start, end), (new_key(), network.authority.pck_key, new_key()))
            platform = SimulatedPlatform(authority, TOP)
            network.register(platform.pck)
            found = network.world.call(SIMULATION, "platformAt", keccak(b"".join(words(platform.pck.public_key()))))
            assert (found["notBefore"], found["notAfter"]) == (start, end)


# -- genuine hardware

GENUINE = (
    ("dcap/phala/sgx_quote", None),
    ("dcap/phala/tdx_quote", None),
    ("dcap/automata/rust/quotev3.hex", None),
    ("dcap/automata/rust/quotev4.hex", None),
    ("dcap/automata/solana/quote_sgx.bin", "can be debugged"),
    ("dcap/phala/tdx_quote_outdated", None),
    ("dcap/automata/evm/quotes/tdx_quote_5.dat", "a service domain"),
    ("dcap/automata/rust/quotev5.dat", "a service domain"),
)


@with_precompile
@vectors.needs_vectors
@pytest.mark.parametrize(("file", "rule"), GENUINE)
def test_genuine_quotes_pass_up_to_their_report_data(empty: World, file: str, rule: str | None) -> None:
    raw = vectors.read(file)
    quote, cut = read_quote(raw), TaskQuote.cut(raw)
    leaf, middle, _ = x509.load_pem_x509_certificates(quote.pck_chain.rstrip(b"\0"))
    arguments = cut.platform[:32], cut.platform[32:], cut.signed, cut.endorsement
    with bad("not registered"):
        empty.call(HARDWARE, "appraise", *arguments)
    with refused("UnknownIssuer"):
        empty.call(SIMULATION, "registerPlatform", *registration(leaf, middle.public_key()))
    empty.stranger.send(HARDWARE, "registerPlatform", *registration(leaf, middle.public_key()))
    if rule is not None:
        with bad(rule):
            empty.call(HARDWARE, "appraise", *arguments)
        return
    data = quote.body.report_data
    expected = {"identity": quote.body.identity, "reportData": data[:32], "reportDataRest": data[32:]}
    assert empty.call(HARDWARE, "appraise", *arguments) == expected
    for at in (60, 300):
        with bad("not signed by the attestation key"):
            empty.call(HARDWARE, "appraise", *arguments[:2], flip(cut.signed, at), cut.endorsement)
