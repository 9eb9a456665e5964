"""The quoting process: it holds the platform's keys, apart from every enclave, and signs what the launcher tells it of an enclave.

An enclave has no way to it but through the launcher, which gives the measurement that it computed itself: no code can claim to be
other code. The keys are derived here from the platform's secret; only the public half of the platform's goes out, to be certified.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import socket
import subprocess
import sys
import threading
from types import TracebackType
from typing import Protocol, Self

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePublicKey, derive_private_key
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_der_public_key
from tallystick.attestation.runs import key_context, seal
from tallystick.attestation.simulation.authority import TOP, ProvisioningAuthority, sgx_extension
from tallystick.attestation.simulation.platform import EnclaveIdentity, QuotingEnclave

from tallystick_node.engines.tee.frames import Stream
from tallystick_node.engines.tee.worker import receive, send

_LIMIT = 64 << 10
_START, _KEY, _CHAIN, _ASK, _QUOTE, _ASK_KEY, _SEALED = b"B", b"K", b"C", b"Q", b"E", b"S", b"L"
_SECRET = 32
_SEALING, _PLATFORM = b"tallystick/tee/sealing-key/v1", b"tallystick/tee/platform-key/v1"
_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551  # of P-256
_IDENTITY = 32 + 32 + 16 + 64 + 4
_DEADLINE = 180.0  # seconds: what an enclave has to start; half a second of it alone, and many times that beside other work


class Quoting(Protocol):
    """Who vouches for an enclave: the platform's quoting side, as its launcher sees it."""

    def quote(self, enclave: EnclaveIdentity, report_data: bytes) -> bytes:
        """Raw evidence with 64 bytes of report data."""

    def sealing_key(self, enclave: EnclaveIdentity, public_key: bytes) -> bytes:
        """The key for ``enclave``'s states, sealed to its public key."""


class QuotingProcess:
    """The launcher's end, for all of its threads. Use as a context manager: the process ends with it.

    Raises :class:`~tallystick_node.engines.tee.frames.StreamBroken` where the process is gone or slower than three minutes;
    then it is used up.

    ``secret`` (32 bytes, kept by the platform's owner, for one platform) is the root of the platform's key, by which it is known,
    and of the keys that enclaves seal their states under. Without it neither outlives this process.
    """

    def __init__(self, authority: ProvisioningAuthority, secret: bytes | None = None) -> None:
        secret = os.urandom(_SECRET) if secret is None else secret
        if len(secret) != _SECRET:
            raise ValueError(f"a platform's secret takes {_SECRET} bytes")
        ours, theirs = socket.socketpair()
        with theirs, contextlib.ExitStack() as undo:
            undo.enter_context(ours)
            process = subprocess.Popen(
                [sys.executable, "-B", "-m", __name__, str(theirs.fileno())], pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL
            )
            undo.callback(_end, process, ours)
            theirs.close()
            self._stream = Stream(ours, _DEADLINE)
            self._stream.send(_START, secret)
            kind, encoded = self._stream.receive(_LIMIT)
            key = load_der_public_key(encoded)
            if kind != _KEY or not isinstance(key, EllipticCurvePublicKey):
                raise ValueError("the quoting process gave no key")
            self.pck: x509.Certificate = authority.certify(key, sgx_extension(hashlib.sha256(encoded).digest()[:16], TOP, 1))
            self._stream.send(_CHAIN, authority.chain(self.pck))
            self._turn = threading.Lock()
            self._resources = undo.pop_all()

    def quote(self, enclave: EnclaveIdentity, report_data: bytes) -> bytes:
        """A quote of version 3 for ``enclave`` with 64 bytes of report data."""
        return self._ask(_ASK, enclave, report_data, _QUOTE)

    def sealing_key(self, enclave: EnclaveIdentity, public_key: bytes) -> bytes:
        """The key for ``enclave``'s states, sealed to its public key: of this platform, measurement, version and configuration."""
        return self._ask(_ASK_KEY, enclave, public_key, _SEALED)

    def _ask(self, ask: bytes, enclave: EnclaveIdentity, data: bytes, answer: bytes) -> bytes:
        with self._turn:
            self._stream.extend(_DEADLINE)
            self._stream.send(ask, _packed(enclave) + data)
            kind, payload = self._stream.receive(_LIMIT)
        if kind != answer:
            raise ValueError("the quoting process gave no answer")
        return payload

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._resources.close()


def _end(process: subprocess.Popen[bytes], channel: socket.socket) -> None:
    """The process ends by itself when its channel does."""
    channel.close()
    try:
        process.wait(5)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def main(channel: int) -> None:
    """The process itself: derive the platform's key, take its chain, sign until the launcher is gone."""
    kind, secret = receive(channel, _LIMIT)
    if kind != _START or len(secret) != _SECRET:
        return
    number = int.from_bytes(HKDF(SHA256(), 48, None, _PLATFORM).derive(secret), "big") % (_ORDER - 1) + 1  # FIPS 186-5, A.2.1
    key = derive_private_key(number, SECP256R1())
    send(channel, _KEY, key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo))
    kind, chain = receive(channel, _LIMIT)
    if kind != _CHAIN:
        return
    enclave = QuotingEnclave(key, chain)
    while True:
        try:
            kind, ask = receive(channel, _LIMIT)
        except EOFError:
            return
        identity, data = _unpacked(ask[:_IDENTITY]), ask[_IDENTITY:]
        if kind == _ASK and len(data) == 64:
            send(channel, _QUOTE, enclave.quote_enclave(identity, data))
        elif kind == _ASK_KEY and len(data) == 32:
            derived = HKDF(SHA256(), 32, None, _SEALING + _packed(identity)).derive(secret)
            send(channel, _SEALED, seal(data, derived, key_context(data)))
        else:
            return


def _packed(enclave: EnclaveIdentity) -> bytes:
    numbers = enclave.isv_prod_id.to_bytes(2, "big") + enclave.isv_svn.to_bytes(2, "big")
    return b"".join((enclave.mrenclave, enclave.mrsigner, enclave.attributes, enclave.config_id, numbers))


def _unpacked(data: bytes) -> EnclaveIdentity:
    return EnclaveIdentity(
        mrenclave=data[:32],
        mrsigner=data[32:64],
        attributes=data[64:80],
        config_id=data[80:144],
        isv_prod_id=int.from_bytes(data[144:146], "big"),
        isv_svn=int.from_bytes(data[146:148], "big"),
    )


if __name__ == "__main__":
    main(int(sys.argv[1]))
