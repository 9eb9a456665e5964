"""The quoting process: it holds the platform's keys, apart from every enclave, and signs what the launcher tells it of an enclave.

An enclave has no way to it but through the launcher, which gives the measurement that it computed itself: no code can claim to be
other code. The keys are made here and never leave; only the public one goes out, to be certified.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from types import TracebackType
from typing import Self

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_der_public_key
from tallystick.attestation.simulation.authority import TOP, ProvisioningAuthority, new_key, sgx_extension
from tallystick.attestation.simulation.platform import EnclaveIdentity, QuotingEnclave

from tallystick_node.engines.tee.frames import Stream
from tallystick_node.engines.tee.worker import receive, send

_LIMIT = 64 << 10
_KEY, _CHAIN, _ASK, _QUOTE = b"K", b"C", b"Q", b"E"
_DEADLINE = 30


class QuotingProcess:
    """The launcher's end. Use as a context manager: the process ends with it."""

    def __init__(self, authority: ProvisioningAuthority) -> None:
        ours, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-B", "-m", __name__, str(theirs.fileno())], pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL
            )
        self._socket = ours
        self._stream = Stream(ours, _DEADLINE)
        kind, encoded = self._stream.receive(_LIMIT)
        key = load_der_public_key(encoded)
        if kind != _KEY or not isinstance(key, EllipticCurvePublicKey):
            raise ValueError("the quoting process gave no key")
        self.pck: x509.Certificate = authority.certify(key, sgx_extension(os.urandom(16), TOP, 1))
        self._stream.send(_CHAIN, authority.chain(self.pck))

    def quote(self, enclave: EnclaveIdentity, report_data: bytes) -> bytes:
        """A quote of version 3 for ``enclave`` with 64 bytes of report data."""
        fields = (enclave.mrenclave, enclave.mrsigner, enclave.attributes, enclave.config_id, report_data)
        numbers = enclave.isv_prod_id.to_bytes(2, "big") + enclave.isv_svn.to_bytes(2, "big")
        self._stream.extend(_DEADLINE)
        self._stream.send(_ASK, b"".join(fields) + numbers)
        kind, quote = self._stream.receive(_LIMIT)
        if kind != _QUOTE:
            raise ValueError("the quoting process gave no quote")
        return quote

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._socket.close()
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def main(channel: int) -> None:
    """The process itself: make a key, take its chain, sign until the launcher is gone."""
    key = new_key()
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
        if kind != _ASK or len(ask) != 32 + 32 + 16 + 64 + 64 + 4:
            return
        identity = EnclaveIdentity(
            mrenclave=ask[:32],
            mrsigner=ask[32:64],
            attributes=ask[64:80],
            config_id=ask[80:144],
            isv_prod_id=int.from_bytes(ask[208:210], "big"),
            isv_svn=int.from_bytes(ask[210:212], "big"),
        )
        send(channel, _QUOTE, enclave.quote_enclave(identity, ask[144:208]))


if __name__ == "__main__":
    main(int(sys.argv[1]))
