"""The direct connections of a run: one TCP connection for each pair of parties, made by their nodes, used by their workers.

The nodes agree on it over their stream, whose ends are checked against the chain: each makes a key and a certificate for this link
alone (:class:`Credential`), and the node that is dialled gives a ticket. The other connects to the dialled node's data address and
shows the ticket; the connection is answered with one byte and then belongs to the workers, who open TLS on it.

A ticket only says which run a connection is for. It crosses the network in the clear: who steals it gets a connection on which
TLS fails, since only the announced certificate passes.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import ipaddress
import secrets
import socket
from dataclasses import dataclass

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from tallystick.protocol.errors import Configuration, PeerFailed
from tallystick.protocol.reasons import Reason

TICKET = 32  # bytes
WELCOME = b"\1"
TICKET_SECONDS = 5.0  # a connection without a ticket is dropped after them
RETRY_SECONDS = 0.2
PENDING = 64  # connections that have not shown a ticket; one more drops the oldest
PENDING_FROM_ONE = 16  # of them from one place; one more drops the oldest from there
BUFFER = 4 << 20  # bytes asked of the kernel for each direction; it grants what its limits allow
CERTIFICATE_LIMIT = 2048  # bytes
# clocks decide nothing: the certificate is pinned
BEGIN, END = dt.datetime(2000, 1, 1, tzinfo=dt.UTC), dt.datetime(9999, 12, 31, tzinfo=dt.UTC)


@dataclass(frozen=True)
class Credential:
    """What one end of one link proves itself with: a P-256 key (PEM) and a certificate (DER) that it signed itself."""

    key: bytes
    certificate: bytes

    @classmethod
    def make(cls) -> Credential:
        """A new one."""
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "link")])
        builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
        builder = builder.serial_number(x509.random_serial_number()).not_valid_before(BEGIN).not_valid_after(END)
        pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        return cls(pem, builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.DER))


def require_certificate(data: bytes, account: str) -> None:
    """Raise PeerFailed unless a peer's announced certificate is one, of the kind that :class:`Credential` makes."""
    try:
        key = x509.load_der_x509_certificate(data).public_key() if len(data) <= CERTIFICATE_LIMIT else None
    except (ValueError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        raise PeerFailed("announces no P-256 certificate for its link", party=account)


class Entrance:
    """Where peers' connections come in. ``address``: host:port; port 0 takes a free one."""

    def __init__(self, address: str) -> None:
        self._address = address
        self._socket: socket.socket | None = None
        self._accepting: asyncio.Task[None] | None = None
        self._expected: dict[bytes, asyncio.Future[socket.socket]] = {}
        self._pending: dict[asyncio.Task[None], str] = {}  # with the place that each comes from; the oldest first

    @property
    def port(self) -> int:
        """The port that peers connect to."""
        assert self._socket is not None
        return int(self._socket.getsockname()[1])

    async def open(self) -> None:
        """Listen. Raises Configuration when the address cannot be listened on."""
        host, port = split(self._address)
        try:
            family, kind, protocol, _, where = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
            self._socket = socket.socket(family, kind, protocol)
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            self._socket.bind(where)
            self._socket.listen(PENDING)
        except OSError:
            raise Configuration(
                f"{self._address} cannot be listened on", remedy="stop what uses the port, or set another `data_listen`"
            ) from None
        self._socket.setblocking(False)
        self._accepting = asyncio.create_task(self._accept(self._socket))

    async def close(self) -> None:
        """Listen no longer."""
        if self._accepting is not None and self._socket is not None:
            for task in (self._accepting, *self._pending):
                task.cancel()
            await asyncio.gather(self._accepting, *self._pending, return_exceptions=True)
            self._socket.close()

    async def arrival(self, ticket: bytes) -> socket.socket:
        """The connection that shows this ticket, once. Waits until it is cancelled."""
        future: asyncio.Future[socket.socket] = asyncio.get_running_loop().create_future()
        self._expected[ticket] = future
        try:
            return await future
        except asyncio.CancelledError:
            if future.done() and not future.cancelled():  # it came at the same moment
                future.result().close()
            raise
        finally:
            self._expected.pop(ticket, None)

    async def _accept(self, listening: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                connection, address = await loop.sock_accept(listening)
            except OSError:  # too many open files, or it was gone at once
                await asyncio.sleep(RETRY_SECONDS)
                continue
            self._make_room(place := place_of(address[0]))
            task = asyncio.create_task(self._admit(connection))
            self._pending[task] = place
            task.add_done_callback(lambda done: self._pending.pop(done, None))
            await asyncio.sleep(0)  # a ticket that is there already is read before others come, however many wait

    def _make_room(self, place: str) -> None:
        """Drop the oldest connection without a ticket, of the place that has too many, or of all."""
        rivals = [task for task, other in self._pending.items() if other == place]
        if len(rivals) < PENDING_FROM_ONE:
            rivals = list(self._pending) if len(self._pending) >= PENDING else []
        if rivals:
            del self._pending[rivals[0]]
            rivals[0].cancel()

    async def _admit(self, connection: socket.socket) -> None:
        kept = False
        try:
            connection.setblocking(False)
            async with asyncio.timeout(TICKET_SECONDS):
                ticket = await _exactly(connection, TICKET)
            future = self._expected.pop(ticket, None)
            if future is not None and not future.done():
                tune(connection)
                connection.send(WELCOME)
                future.set_result(connection)
                kept = True
        except (OSError, TimeoutError):
            pass  # it left, or said nothing: nobody whom it would concern
        finally:
            if not kept:
                connection.close()


def place_of(host: str) -> str:
    """What counts as one place: an IPv4 address, or the network half of an IPv6 address, which one machine can fill."""
    address = ipaddress.ip_address(host.partition("%")[0])
    if address.version == 4:
        return str(address)
    return str(address.ipv4_mapped or ipaddress.ip_network((address, 64), strict=False))


async def connect(account: str, host: str, port: int, ticket: bytes, seconds: float) -> socket.socket:
    """Connect to a peer's data address with the ticket that its node gave. Raises PeerFailed when it is not let in in time."""
    loop = asyncio.get_running_loop()
    give_up = loop.time() + seconds
    while True:
        try:
            return await asyncio.wait_for(_try(host, port, ticket), max(0.0, give_up - loop.time()))
        except (OSError, TimeoutError):
            if loop.time() + RETRY_SECONDS >= give_up:
                raise PeerFailed(
                    f"its data address {host}:{port} lets no connection in",
                    party=account,
                    remedy="its operator opens the port of `data_listen` to this node, at the host of its `listen`",
                    reason=Reason.PEER_SILENT,
                ) from None
        await asyncio.sleep(RETRY_SECONDS)


async def _try(host: str, port: int, ticket: bytes) -> socket.socket:
    loop = asyncio.get_running_loop()
    family, kind, protocol, _, where = (await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM))[0]
    connection = socket.socket(family, kind, protocol)
    try:
        connection.setblocking(False)
        await loop.sock_connect(connection, where)
        tune(connection)
        await loop.sock_sendall(connection, ticket)
        if await _exactly(connection, len(WELCOME)) == WELCOME:
            return connection
        raise ConnectionError
    except BaseException:
        connection.close()
        raise


async def _exactly(connection: socket.socket, size: int) -> bytes:
    """So many bytes and none more: what follows is the worker's."""
    data = b""
    while len(data) < size:
        part = await asyncio.get_running_loop().sock_recv(connection, size - len(data))
        if not part:
            raise ConnectionError
        data += part
    return data


def tune(connection: socket.socket) -> None:
    """Small messages leave at once, large ones find room."""
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    for option in (socket.SO_SNDBUF, socket.SO_RCVBUF):
        connection.setsockopt(socket.SOL_SOCKET, option, BUFFER)


def new_ticket() -> bytes:
    """A ticket that nobody can guess."""
    return secrets.token_bytes(TICKET)


def split(address: str) -> tuple[str, int]:
    """Host and port of ``host:port`` or ``[host]:port``. Raises Configuration."""
    host, _, port = address.rpartition(":")
    if not host or not port.isascii() or not port.isdigit() or int(port) > 65535:
        raise Configuration(f"{address} is not host:port", remedy="see docs/reference/settings.md")
    return host.removeprefix("[").removesuffix("]"), int(port)
