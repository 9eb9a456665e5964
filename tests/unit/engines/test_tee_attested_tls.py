"""Attested TLS between two enclaves, and between an owner and an enclave: it opens for fresh evidence of what is accepted alone."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest
from tallystick.attestation.documents import write_evidence
from tallystick.attestation.policy import AppraisalPolicy
from tallystick.attestation.quote import SGX, TDX, read_quote
from tallystick.attestation.rules import EvidenceRefused
from tallystick.attestation.simulation.authority import ProvisioningAuthority
from tallystick.attestation.simulation.platform import DomainIdentity, EnclaveIdentity, SimulatedPlatform, raw_key
from tallystick.attestation.standing import Standing
from tallystick.attestation.verifier import Evidence
from tallystick_node.engines.channel import ChannelError, local_sessions
from tallystick_node.engines.tee import attested_tls
from tallystick_node.engines.tee.appraisal import Accepted
from tallystick_node.engines.tee.attested_tls import AttestedChannel, ChannelRefused, Endpoint, Known, connect
from tallystick_node.engines.tee.frames import Messages, StreamBroken

NOW = int(time.time())
WINDOW = (NOW - 1_000, NOW + 100_000)
CONTEXT = b"\x07" * 32
SECONDS = 30.0


@pytest.fixture(scope="module")
def authority() -> ProvisioningAuthority:
    return ProvisioningAuthority(WINDOW)


class Place:
    """An environment on a simulated platform: an enclave of SGX, or a trust domain. It attests whatever its process asks it to."""

    def __init__(self, authority: ProvisioningAuthority, tee: int = SGX, **changes: Any) -> None:
        self.platform, self.tee = SimulatedPlatform(authority), tee
        self.collateral = authority.collateral(tee, WINDOW)
        self.enclave = EnclaveIdentity(**{"mrenclave": b"\x01" * 32, "mrsigner": bytes(32), **changes})
        self.domain = DomainIdentity(b"\x02" * 48)
        policy = AppraisalPolicy("channel", simulations=frozenset({authority.fingerprint}))
        self.accepted = Accepted(identities=frozenset({self.identity}), policy=policy, simulated=True)

    def quote(self, report_data: bytes) -> bytes:
        if self.tee == TDX:
            return self.platform.quote_domain(self.domain, report_data)
        return self.platform.quote_enclave(self.enclave, report_data)

    def attest(self, report_data: bytes) -> bytes:
        return write_evidence(Evidence(self.quote(report_data), self.collateral))

    @property
    def identity(self) -> bytes:
        return read_quote(self.quote(bytes(64))).body.identity

    @property
    def standing(self) -> Standing:
        return Standing(frozenset({self.identity}), {raw_key(self.platform._pck_key): WINDOW})


def both(dialling: Callable[[Any], Any], listening: Callable[[Any], Any], seconds: float = SECONDS) -> tuple[Any, Any]:
    """What either end comes to, or raises; an end that is done with an error lets go of its socket."""
    ours, theirs = socket.socketpair()

    def side(connection: socket.socket, act: Callable[[Any], Any]) -> Any:
        try:
            return act(Messages(connection, seconds, 40 << 20))
        except Exception as error:
            connection.close()
            return error

    with ThreadPoolExecutor(2) as pool:
        one, other = pool.submit(side, ours, dialling), pool.submit(side, theirs, listening)
        return one.result(), other.result()


def opened(endpoint: Endpoint, peer: Accepted | Known, listening: bool, context: bytes = CONTEXT) -> Callable[[Any], Any]:
    return lambda transport: connect(transport, endpoint, peer, context, listening=listening)


def test_two_enclaves_of_two_institutions_appraise_each_other_and_then_talk(authority: ProvisioningAuthority) -> None:
    one, other = Place(authority), Place(authority, TDX)

    def talk(endpoint: Endpoint, peer: Accepted, listening: bool) -> Callable[[Any], tuple[AttestedChannel, list[bytes]]]:
        def act(transport: Any) -> tuple[AttestedChannel, list[bytes]]:
            channel = connect(transport, endpoint, peer, CONTEXT, listening=listening)
            for size in (0, 1, 70_000):
                channel.send(bytes([listening]) * size)
            return channel, [channel.receive() for _ in range(3)]

        return act

    first, second = both(
        talk(Endpoint(one.attest), other.accepted, listening=False), talk(Endpoint(other.attest), one.accepted, listening=True)
    )
    assert (first[0].result.kind, second[0].result.kind) == ("tdx", "sgx")
    assert first[1] == [b"", b"\1", b"\1" * 70_000]
    assert second[1] == [b"", b"\0", b"\0" * 70_000]


def test_an_owner_without_an_enclave_is_known_by_its_certificate(authority: ProvisioningAuthority) -> None:
    place, owner, stranger = Place(authority), Endpoint(), Endpoint()
    enclave = Endpoint(place.attest)
    first, second = both(opened(owner, place.accepted, False), opened(enclave, owner.known, True))
    assert (first.result.strength, second.result) == ("attested, simulated", None)
    _, refused = both(opened(stranger, place.accepted, False), opened(enclave, owner.known, True))
    assert isinstance(refused, ChannelRefused) and "none that this end was told of" in str(refused)


def test_links_of_a_run_carry_it(authority: ProvisioningAuthority) -> None:
    one, other = Place(authority), Place(authority)
    sessions = local_sessions(2, SECONDS)

    def side(index: int) -> bytes:
        place, peer = (one, other)[index], (other, one)[index]
        link: Any = sessions[index].channels[1 - index]
        channel = connect(link, Endpoint(place.attest), peer.accepted, CONTEXT, listening=bool(index))
        channel.send(bytes([index]))
        return channel.receive()

    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(side, (0, 1))) == [b"\1", b"\0"]


def refusal(place: Place, accepted: Accepted, attest: Callable[[bytes], bytes] | None = None) -> str:
    """Why an owner opens no channel to an enclave; the enclave hears nothing of it."""
    owner = Endpoint()
    first, second = both(opened(owner, accepted, False), opened(Endpoint(attest or place.attest), owner.known, True))
    assert isinstance(first, EvidenceRefused | ChannelRefused)
    assert isinstance(second, StreamBroken)
    return str(first)


def test_an_end_refuses_evidence_and_says_by_which_rule(authority: ProvisioningAuthority) -> None:
    place = Place(authority)
    assert "703" in refusal(place, replace(place.accepted, identities=frozenset({bytes(32)})))
    debug = Place(authority, attributes=bytes([0x07]) + bytes(7) + bytes([0x03]) + bytes(7))
    assert "702" in refusal(debug, debug.accepted)
    assert "204" in refusal(place, replace(place.accepted, policy=AppraisalPolicy("hardware"), simulated=False))
    assert "701" in refusal(place, replace(place.accepted, simulated=False))
    revoked = replace(place.standing, platforms={})
    assert "716" in refusal(place, replace(place.accepted, standing=revoked))
    disallowed = replace(place.standing, enclaves=frozenset())
    assert "716" in refusal(place, replace(place.accepted, standing=disallowed))
    assert "101" in refusal(place, place.accepted, lambda _: b"")
    assert "103" in refusal(place, place.accepted, lambda _: b"{}")
    late = replace(place.accepted, clock=lambda: WINDOW[1] + 10.0)
    assert "205" in refusal(place, late)


def test_a_platform_and_an_enclave_that_the_chain_lets_count_pass(authority: ProvisioningAuthority) -> None:
    place, owner = Place(authority), Endpoint()
    accepted = replace(place.accepted, standing=place.standing)
    first, _ = both(opened(owner, accepted, False), opened(Endpoint(place.attest), owner.known, True))
    assert isinstance(first, AttestedChannel)


def test_evidence_serves_one_connection_one_key_one_role_and_one_context(authority: ProvisioningAuthority) -> None:
    place, owner = Place(authority), Endpoint()
    kept: list[bytes] = []

    def remembering(report_data: bytes) -> bytes:
        kept.append(place.attest(report_data))
        return kept[-1]

    genuine = Endpoint(remembering)
    both(opened(owner, place.accepted, False), opened(genuine, owner.known, True))
    genuine.attest = lambda _: kept[0]  # the same key again: another nonce
    first, _ = both(opened(owner, place.accepted, False), opened(genuine, owner.known, True))
    assert "704" in str(first)
    assert "704" in refusal(place, place.accepted, lambda _: kept[0])  # another process's key
    first, _ = both(opened(owner, place.accepted, False), opened(Endpoint(place.attest), owner.known, True, bytes(32)))
    assert "704" in str(first)  # for another attempt
    first, _ = both(opened(owner, place.accepted, False), opened(Endpoint(place.attest), owner.known, False))
    assert "704" in str(first)  # both ends dial


def test_genuine_evidence_that_is_passed_on_opens_nothing_for_who_passes_it_on(authority: ProvisioningAuthority) -> None:
    """A host between owner and enclave passes hello, certificate and evidence on as they are, but has not the enclave's key."""
    place, owner, host = Place(authority), Endpoint(), Endpoint()
    enclave = Endpoint(place.attest)

    def between(transport: Any) -> Any:
        hello = b"n" * 32 + enclave.known.certificate
        transport.send(hello)
        theirs = transport.receive()
        data = attested_tls.report_data(hello, theirs, CONTEXT, listening=True)
        transport.send(len(enclave.certificate).to_bytes(4, "big") + enclave.certificate + place.attest(data))
        transport.receive()
        return AttestedChannel(transport, host.context(owner.certificate, listening=True), None, None, listening=True).open(
            owner.certificate
        )

    first, second = both(opened(owner, place.accepted, False), between)
    assert isinstance(first, ChannelRefused) and "breaks TLS" in str(first)
    assert isinstance(second, ChannelRefused | StreamBroken)


def test_what_an_end_says_opens_nothing_when_it_is_sent_back(authority: ProvisioningAuthority) -> None:
    """Even to an end that would accept an enclave like itself: evidence names the role of who gives it."""

    def mirror(transport: Any) -> None:
        for _ in range(2):
            transport.send(transport.receive())
        transport.receive()

    place = Place(authority)
    first, _ = both(opened(Endpoint(place.attest), place.accepted, False), mirror)
    assert isinstance(first, EvidenceRefused) and "704" in str(first)


def malformed(*messages: bytes) -> Callable[[Any], Any]:
    def act(transport: Any) -> None:
        for message in messages:
            transport.send(message)
        transport.receive(), transport.receive()

    return act


@pytest.mark.parametrize(
    "messages",
    [
        (b"",),
        (bytes(65),),
        (bytes(64), b""),
        (bytes(64), b"\xff" * 200),
        (bytes(64), (4).to_bytes(4, "big") + b"cert"),
        (bytes(64), (2000).to_bytes(4, "big") + bytes(10)),
        (bytes(64), len(Endpoint().certificate).to_bytes(4, "big") + Endpoint().certificate),
    ],
)
def test_what_is_malformed_opens_nothing(authority: ProvisioningAuthority, messages: tuple[bytes, ...]) -> None:
    first, _ = both(opened(Endpoint(), Place(authority).accepted, False), malformed(*messages))
    assert isinstance(first, ChannelRefused)


@pytest.mark.filterwarnings("ignore:Parsed a serial number")
def test_a_certificate_with_any_byte_changed_is_refused_or_read() -> None:
    genuine, other = bytes(Endpoint().certificate), Endpoint()
    read = refused = 0
    for place in range(len(genuine)):
        for value in {genuine[place] ^ 1, 0, 5, 255} - {genuine[place]}:
            changed = genuine[:place] + bytes([value]) + genuine[place + 1 :]
            try:
                found, _ = attested_tls._split(len(changed).to_bytes(4, "big") + changed)
                other.context(found, listening=False)
                read += 1
            except ChannelRefused:
                refused += 1
    assert read and refused


def test_nothing_passes_once_the_appraisal_has_expired(authority: ProvisioningAuthority) -> None:
    place, owner, now = Place(authority), Endpoint(), [float(NOW)]
    accepted = replace(place.accepted, clock=lambda: now[0])
    first, _ = both(opened(owner, accepted, False), opened(Endpoint(place.attest), owner.known, True))
    now[0] = float(first.result.expires)
    for act in (lambda: first.send(b"data"), first.receive):
        with pytest.raises(EvidenceRefused, match="has expired"):
            act()


def test_what_arrives_after_the_appraisal_has_expired_is_not_taken(authority: ProvisioningAuthority) -> None:
    place, owner, now = Place(authority), Endpoint(), [float(NOW)]

    def waiting(transport: Any) -> Any:
        channel = connect(transport, owner, replace(place.accepted, clock=lambda: now[0]), CONTEXT, listening=False)
        receive = transport.receive

        def long_after() -> bytes:
            message: bytes = receive()
            now[0] = float(channel.result.expires)  # type: ignore[union-attr]
            return message

        transport.receive = long_after
        return channel.receive()

    def telling(transport: Any) -> None:
        connect(transport, Endpoint(place.attest), owner.known, CONTEXT, listening=True).send(b"late")

    first, _ = both(waiting, telling)
    assert isinstance(first, EvidenceRefused) and "has expired" in str(first)


def test_a_silent_peer_and_one_that_lets_go_end_the_wait() -> None:
    accepted = Accepted(identities=frozenset(), policy=AppraisalPolicy("x"), simulated=True)
    first, _ = both(opened(Endpoint(), accepted, False), lambda transport: transport._stream._connection.close())
    assert isinstance(first, StreamBroken)
    link: Any = local_sessions(2, 0.05)[0].channels[1]
    with pytest.raises(ChannelError):
        connect(link, Endpoint(), accepted, CONTEXT, listening=False)
