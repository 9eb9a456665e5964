"""Attested TLS: a channel that opens only once each end has appraised the other, between two enclaves, or an owner and an enclave.

1. Each end says hello: a nonce of 32 bytes, and the SHA-256 of the certificate of a key that exists in this process only.
2. Each sends that certificate, and evidence of its environment over both hellos, its role and the channel's context. An end that
   is no enclave sends no evidence; the other has to know its certificate.
3. Each checks what it got: the certificate against the hello, the evidence by :class:`~.appraisal.Accepted`. An end that refuses
   says nothing more.
4. TLS 1.3 over the same transport, both with certificates; each trusts the one certificate that it checked. In it each tells the
   other that it has accepted; then messages pass.

Security: evidence names this key, for this peer's key and nonce, in this role and context. So it can be neither replayed nor used
by another process, and a host that passes on genuine evidence of another enclave cannot open TLS with it. Confidentiality and
integrity are those of TLS 1.3 (RFC 8446) with an ephemeral exchange; the certificate's key only signs. Evidence itself crosses the
transport in the clear, with what it says of the platform: use a transport that is encrypted where that matters. An end is told
nothing of why it was refused. What is appraised is the environment of the process that holds the key, so both ends of TLS have
to lie inside of theirs.

After Knauth et al., "Integrating Remote Attestation with Transport Layer Security" (2018), with the evidence beside the certificate
and a nonce of either end in it, which evidence inside of a certificate cannot hold.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import os
import secrets
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Protocol, TypeVar

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from tallystick.attestation.result import AttestationResult
from tallystick.attestation.rules import EvidenceRefused, Rule

from tallystick_node.engines.tee.appraisal import Accepted

NONCE = 32
HELLO = NONCE + 32
MAX_CERTIFICATE = 2048
MAX_DOCUMENT = 1 << 20
MAX_MESSAGE = 32 << 20
_DOMAIN = b"tallystick/tee/channel/v1"
_READY = b"tallystick/tee/channel/accepted"
_RECORD = 16 << 10
_T = TypeVar("_T")
# Clocks decide nothing of a certificate: it is compared byte by byte. Evidence and its result have their own times.
_BEGIN, _END = dt.datetime(2000, 1, 1, tzinfo=dt.UTC), dt.datetime(9999, 12, 31, tzinfo=dt.UTC)


class ChannelRefused(Exception):  # noqa: N818 - a verdict
    """The peer does not prove what it has to, or sends what is malformed; the message says at which step, and nothing secret."""


class Transport(Protocol):
    """Messages in order, with their boundaries, to and from one peer. It has the deadlines, and raises when they pass."""

    def send(self, message: bytes) -> None:
        """Send one message."""

    def receive(self) -> bytes:
        """The next one."""


@dataclass(frozen=True)
class Known:
    """A peer that is no enclave, by the SHA-256 of its certificate: whoever configures this end vouches for it."""

    certificate: bytes


class Endpoint:
    """One process's key and certificate, and how it comes by evidence of its environment over 64 bytes (None: it has none).

    The key never leaves this process: it is made here, and OpenSSL reads it from memory.
    """

    def __init__(self, attest: Callable[[bytes], bytes] | None = None) -> None:
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "attested channel")])
        builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
        builder = builder.serial_number(x509.random_serial_number()).not_valid_before(_BEGIN).not_valid_after(_END)
        certificate = builder.sign(key, hashes.SHA256())
        self.attest = attest
        self.certificate = certificate.public_bytes(Encoding.DER)
        self._pem = certificate.public_bytes(Encoding.PEM) + key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())

    @property
    def known(self) -> Known:
        """What a peer has to be told that is to know this end without evidence."""
        return Known(hashlib.sha256(self.certificate).digest())

    def context(self, peer: bytes, *, listening: bool) -> ssl.SSLContext:
        """TLS 1.3 with this end's certificate, for the one peer with ``peer`` (DER). Raises ChannelRefused where OpenSSL does not
        read that."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER if listening else ssl.PROTOCOL_TLS_CLIENT)
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        context.check_hostname = False
        context.verify_mode = ssl.CERT_REQUIRED
        try:
            context.load_verify_locations(cadata=peer)
        except ssl.SSLError:
            raise ChannelRefused("the peer's certificate is none that TLS can use") from None
        if listening:
            context.num_tickets = 0  # nothing resumes: every channel is appraised anew
        with os.fdopen(os.memfd_create("attested"), "wb") as file:
            file.write(self._pem)
            file.flush()
            context.load_cert_chain(f"/proc/self/fd/{file.fileno()}")
        return context


def report_data(hello: bytes, peer_hello: bytes, context: bytes, *, listening: bool) -> bytes:
    """What an end's evidence is about: its hello for its peer's, its role, and 32 bytes that name what the channel is for."""
    first, second = (peer_hello, hello) if listening else (hello, peer_hello)
    return hashlib.sha256(_DOMAIN + bytes([listening]) + first + second).digest() + context


def connect(
    transport: Transport, endpoint: Endpoint, peer: Accepted | Known, context: bytes, *, listening: bool
) -> AttestedChannel:
    """Open a channel for what ``context`` (32 bytes) names; one of the two ends listens, and both have to agree on which.

    ``peer``: what this end asks of the other. Raises :class:`EvidenceRefused` by the rule that its evidence breaks,
    :class:`ChannelRefused` for anything else that it does not prove, and what the transport raises.
    """
    if len(context) != 32:
        raise ValueError("a channel's context takes 32 bytes")
    hello = secrets.token_bytes(NONCE) + hashlib.sha256(endpoint.certificate).digest()
    transport.send(hello)
    theirs = transport.receive()
    if len(theirs) != HELLO:
        raise ChannelRefused("the peer's hello is of another size")
    evidence = b""
    if endpoint.attest is not None:
        evidence = endpoint.attest(report_data(hello, theirs, context, listening=listening))
    transport.send(len(endpoint.certificate).to_bytes(4, "big") + endpoint.certificate + evidence)
    certificate, document = _split(transport.receive())
    if hashlib.sha256(certificate).digest() != theirs[NONCE:]:
        raise ChannelRefused("the peer's certificate is not the one of its hello")
    result = None
    if isinstance(peer, Known):
        if theirs[NONCE:] != peer.certificate:
            raise ChannelRefused("the peer's certificate is none that this end was told of")
    else:
        if not document:
            raise EvidenceRefused(Rule.SIZE, "the peer gives no evidence")
        result = peer.appraise(document, report_data(theirs, hello, context, listening=not listening))
    clock = peer.clock if isinstance(peer, Accepted) else None
    channel = AttestedChannel(transport, endpoint.context(certificate, listening=listening), result, clock, listening=listening)
    channel.open(certificate)
    return channel


def _split(message: bytes) -> tuple[bytes, bytes]:
    size = int.from_bytes(message[:4], "big")
    if not 0 < size <= MAX_CERTIFICATE or not 4 + size <= len(message) <= 4 + size + MAX_DOCUMENT:
        raise ChannelRefused("the peer's certificate or evidence is of a size that none has")
    certificate = message[4 : 4 + size]
    try:
        key = x509.load_der_x509_certificate(certificate).public_key()
    except (ValueError, UnsupportedAlgorithm, x509.InvalidVersion):
        key = None
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        raise ChannelRefused("the peer's certificate is none of a key on P-256")
    return certificate, message[4 + size :]


class AttestedChannel:
    """An open channel. ``result``: the appraisal of the peer, None of a peer that was known. After that result has expired nothing
    passes any more: open another."""

    def __init__(
        self,
        transport: Transport,
        context: ssl.SSLContext,
        result: AttestationResult | None,
        clock: Callable[[], float] | None,
        *,
        listening: bool,
    ) -> None:
        self.result = result
        self._clock = clock
        self._transport = transport
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_side=listening)

    def open(self, certificate: bytes) -> None:
        """The handshake, with the peer that shows ``certificate``; called by :func:`connect`."""
        self._step(self._tls.do_handshake)
        self._flush()
        if self._tls.getpeercert(binary_form=True) != certificate:
            raise ChannelRefused("the peer opens TLS with another certificate than it showed")
        self.send(_READY)
        if self.receive() != _READY:
            raise ChannelRefused("the peer does not say that it has accepted this end")

    def send(self, message: bytes) -> None:
        """Send one message of at most 32 MiB."""
        self._require_current()
        if len(message) > MAX_MESSAGE:
            raise ValueError(f"a message has at most {MAX_MESSAGE} bytes")
        data = memoryview(len(message).to_bytes(4, "big") + message)
        for at in range(0, len(data), _RECORD):
            self._tls.write(data[at : at + _RECORD])
        self._flush()

    def receive(self) -> bytes:
        """The next message. Raises :class:`ChannelRefused` where the peer closed the channel or broke TLS."""
        self._require_current()
        size = int.from_bytes(self._exactly(4), "big")
        if size > MAX_MESSAGE:
            raise ChannelRefused(f"the peer announces {size} bytes where at most {MAX_MESSAGE} are allowed")
        message = self._exactly(size)
        self._require_current()  # it may have come long after it was waited for
        return message

    def _require_current(self) -> None:
        if self.result is not None and self._clock is not None and self._clock() >= self.result.expires:
            raise EvidenceRefused(Rule.AGE, "the appraisal of the channel's peer has expired")

    def _exactly(self, size: int) -> bytes:
        parts = bytearray()
        while len(parts) < size:
            part: bytes = self._step(partial(self._tls.read, size - len(parts)))
            if not part:
                raise ChannelRefused("the peer has closed the channel")
            parts += part
        return bytes(parts)

    def _step(self, step: Callable[[], _T]) -> _T:
        """What ``step`` gives once the peer has sent what it needs."""
        while True:
            try:
                return step()
            except ssl.SSLWantReadError:
                self._flush()
                self._incoming.write(self._transport.receive())
            except ssl.SSLError as error:
                self._flush()  # an alert, for the peer
                raise ChannelRefused(f"the peer breaks TLS ({error.reason})") from None

    def _flush(self) -> None:
        while self._outgoing.pending:
            self._transport.send(self._outgoing.read(MAX_MESSAGE))
