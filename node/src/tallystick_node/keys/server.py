"""The key service's process: mutual TLS in front, one thread for each connection, a signed record of each decision behind.

Institutions connect with the certificates that are enrolled on chain. Replicas share nothing but the file of keys, which they only
read: each answers by itself and keeps its own log, so any number of them may stand behind one address, and a request that was cut
off is made again at another.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import signal
import socket
import ssl
import threading
import time
from collections.abc import Callable
from pathlib import Path

import structlog
from tallystick.chain.connection import Chain
from tallystick.chain.deployment import Deployment
from tallystick.chain.enclaves import standing
from tallystick.chain.profile import profile_named
from tallystick.protocol.audit import AuditRecord
from tallystick.protocol.errors import Configuration, MalformedDocument, TallystickError
from tallystick.protocol.identity import Certificate
from tallystick.protocol.operators import Scope
from tallystick.signing import OperatorSigner, Signer

from tallystick_node.engines.tee.frames import Messages, StreamBroken
from tallystick_node.engines.tee.keys import MAX_REQUEST, Decision, KeyService
from tallystick_node.keys.permits import ChainPermits, load
from tallystick_node.keys.places import HALL, Crowded, Places
from tallystick_node.peers.identity import require_enrolled
from tallystick_node.settings import Settings

LOG = structlog.get_logger()
SECONDS = 30.0  # for each message but the first
FIRST = 10.0  # seconds from the connection to the request, with all of TLS
MAX_MESSAGE = 1 << 20
PAUSE = 0.1  # seconds, where no connection can be accepted


class AuditFile:
    """A log of signed records (:mod:`tallystick.protocol.audit`), one in a line, which no other process writes while this one does.

    Each record is on disk before :meth:`__call__` returns. Raises Configuration where the file is another's or not such a log.
    """

    def __init__(self, path: Path, signer: Signer, chain_id: int) -> None:
        self._signer, self._chain_id, self._turn = signer, chain_id, threading.Lock()
        try:
            self._file = os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600), "a+b", buffering=0)
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._file.seek(0)
            lines = self._file.read().splitlines(keepends=True)
        except OSError as error:
            raise Configuration(
                f"the log cannot be written: {error.strerror}", party=str(path), remedy="give each replica a log of its own"
            ) from None
        try:
            places = [AuditRecord.parse(line.rstrip(b"\n")).index for line in lines]
        except MalformedDocument:
            places = [-1]
        if places != list(range(len(lines))) or not all(line.endswith(b"\n") for line in lines):
            raise Configuration("the log is damaged", party=str(path), remedy="move it away, and keep it")
        self._count = len(lines)

    def __call__(self, decision: Decision, party: str) -> None:
        """Append what was decided on a request of ``party``. Raises OSError where it cannot be kept."""
        use = decision.use
        detail = {
            "enclave_key": decision.public_key.hex(),
            "strength": decision.strength,
            "measurement": decision.measurement.hex(),
            "evidence": decision.evidence.hex(),
        }
        if use is not None:
            inputs = {"key": use.name, "run": use.run, "conditions": use.conditions.hex(), "inputs": use.inputs.hex()}
            detail |= {**inputs, "receivers": b"".join(use.receivers).hex()}
        with self._turn:
            record = AuditRecord(
                chain_id=self._chain_id,
                account=self._signer.address,
                index=self._count,
                at=int(time.time()),
                kind="refusal" if decision.rule else "access",
                task="",
                dataset="",
                party=party,
                rule=decision.rule,
                message=decision.message[:1024],
                detail=detail,
            ).signed(self._signer.sign_digest)
            self._append(record.to_bytes() + b"\n")
            self._count += 1

    def _append(self, line: bytes) -> None:
        """All of it, on disk; or nothing, as a line that its place is given to again would make the log a damaged one."""
        end = os.fstat(self._file.fileno()).st_size
        try:
            if self._file.write(line) != len(line):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            os.fsync(self._file.fileno())
        except OSError:
            self._file.truncate(end)
            raise

    def close(self) -> None:
        """Let go of the file."""
        self._file.close()


def tls(key: Path, certificate: Path, authority: Path, *, listening: bool) -> ssl.SSLContext:
    """TLS 1.3 between institutions of one authority, both with certificates."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER if listening else ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(authority)
    context.load_cert_chain(certificate, key)
    return context


class _Begun:
    """The messages of a connection whose first was received already."""

    def __init__(self, first: bytes, rest: Messages) -> None:
        self._first: bytes | None = first
        self._rest = rest

    def send(self, message: bytes) -> None:
        self._rest.send(message)

    def receive(self) -> bytes:
        first, self._first = self._first, None
        return self._rest.receive() if first is None else first


class KeyServer:
    """Serves ``service_for(account)`` to who connects. ``admit`` gives the account of a certificate that is enrolled, or raises.
    ``places``: the room that it has; ``first``: seconds that a connection has until its request is there."""

    def __init__(
        self,
        address: str,
        context: ssl.SSLContext,
        admit: Callable[[Certificate], str],
        service_for: Callable[[str], KeyService],
        places: Places | None = None,
        first: float = FIRST,
    ) -> None:
        host, _, port = address.rpartition(":")
        try:
            self._listening = socket.create_server((host, int(port)), backlog=HALL)
        except (OSError, ValueError, OverflowError):
            raise Configuration(f"{address} cannot be listened on", remedy="stop what uses the port, or name another") from None
        self._context, self._admit, self._service_for = context, admit, service_for
        self._places, self._first = places or Places(), first
        self._closed = False

    @property
    def port(self) -> int:
        """The port that is listened on."""
        return int(self._listening.getsockname()[1])

    def serve(self) -> None:
        """Until :meth:`close`, and until what was begun by then is answered, for as long as one message may take."""
        while not self._closed:
            try:
                connection, _ = self._listening.accept()
            except OSError:  # also of a connection that is gone again, and of a process out of files
                time.sleep(0 if self._closed else PAUSE)
                continue
            threading.Thread(target=self._one, args=(connection,), daemon=True).start()
        self._places.close(SECONDS)

    def close(self) -> None:
        """Listen no longer; :meth:`serve` comes to its end."""
        self._closed = True
        with contextlib.suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()

    def _one(self, plain: socket.socket) -> None:
        give_up = time.monotonic() + self._first
        try:
            plain.settimeout(self._first)
            with plain, self._context.wrap_socket(plain, server_side=True, do_handshake_on_connect=False) as secure:
                with self._places.waiting(secure):
                    secure.do_handshake()
                    account = self._admit(Certificate.parse(secure.getpeercert(binary_form=True) or b""))
                    request = Messages(secure, max(0.0, give_up - time.monotonic()), MAX_REQUEST).receive()
                with self._places.served(account, SECONDS):
                    transport = _Begun(request, Messages(secure, SECONDS, MAX_MESSAGE))
                    decision = self._service_for(account).serve(transport)
                LOG.info("key asked for", key=decision.use and decision.use.name, rule=decision.rule or "released")
        except Crowded as crowded:
            LOG.warning("a request for a key found no place", problem=str(crowded), account=account)
        except TallystickError as error:
            LOG.warning("key asked for by somebody else", problem=error.message)
        except StreamBroken as broken:
            LOG.warning("a request for a key was cut off", problem=broken.reason)
        except OSError as error:
            LOG.warning("a request for a key failed", problem=type(error).__name__)


def institution_signer(chain: Chain, certificate: Certificate, key: Signer) -> Signer:
    """What signs for the certificate's account: its own key, or one that it lets sign (docs/spec/identity.md). Raises Configuration
    where it does not."""
    account = certificate.account
    if key.address == account:
        return key
    if not chain.participants.acts_for(key.address, account, int(Scope.SIGN)):
        raise Configuration(
            f"the certificate is of {account}, for which the signer {key.address} may not sign",
            party=account,
            remedy="use the keystore of the certificate's account, or authorise the signer's (`tally operator authorise`)",
        )
    return OperatorSigner(account, key)


def run(settings: Settings, signer: Signer, keys: Path, listen: str, log: Path) -> None:
    """Serve the keys of a file until SIGTERM or SIGINT. The log is the institution's, whose certificate the settings name;
    ``signer`` signs it, with the key of its account or of an operator that may sign for it. Raises Configuration, and what the
    chain's first answers raise."""
    named, entries = load(keys)
    deployment = Deployment.load(settings.deployment)
    chain = Chain(settings.rpc_url, deployment, profile=profile_named(settings.chain_profile))
    signer = institution_signer(chain, Certificate.parse(settings.certificate.read_bytes()), signer)
    record, permits = AuditFile(log, signer, deployment.chain_id), ChainPermits(entries, chain)

    def service_for(account: str) -> KeyService:
        return KeyService(named, permits, lambda decision: record(decision, account))

    context = tls(settings.key, settings.certificate, settings.authority, listening=True)
    for kind in sorted({entry.proof for entry in entries.values()}):
        standing(chain, kind)  # a chain that is years long is read before anybody waits for it
    server = KeyServer(listen, context, lambda certificate: require_enrolled(chain, certificate), service_for)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: server.close())
    LOG.info("key service serves", account=signer.address, port=server.port, keys=len(named))
    server.serve()
    record.close()
