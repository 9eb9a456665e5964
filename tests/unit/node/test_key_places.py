"""A key service under connections that ask for nothing, and whose log it keeps."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from tallystick.protocol.errors import Configuration
from tallystick.protocol.identity import Certificate, issue_authority, issue_certificate
from tallystick.signing import OperatorSigner, signer_from_uri
from tallystick_node.engines.tee.frames import Messages, StreamBroken
from tallystick_node.engines.tee.keys import Decision, KeyRefused, KeyService, ask
from tallystick_node.engines.tee.locked import Use
from tallystick_node.keys.places import Crowded, Places
from tallystick_node.keys.server import KeyServer, institution_signer, tls

DAY = 86_400
SECONDS = 120  # for what a test waits for
ACCOUNTS = {name: signer_from_uri(f"mnemonic:{number}").address for number, name in enumerate(("server", "one", "two", "three"))}
USE = Use("key", bytes(32), bytes(32), bytes(32), (bytes(32),), 0, bytes(32), "0x" + "00" * 32 + "/1")


class Service:
    """A key service that permits nothing, and whom its answers went to."""

    def __init__(self, folder: Path, places: Places, first: float = SECONDS) -> None:
        self.folder, self.served = folder, list[str]()
        ca, now = ec.generate_private_key(ec.SECP256R1()), int(time.time())
        window = (now - DAY, now + DAY)
        authority = issue_authority("consortium", ca, window)
        (folder / "ca.pem").write_bytes(authority.pem)
        self.certificates: dict[str, Certificate] = {}
        for name, account in ACCOUNTS.items():
            key = ec.generate_private_key(ec.SECP256R1())
            made = issue_certificate(authority, ca, key.public_key(), account, name, ["localhost"], ["requester"], window)
            self.certificates[name] = made
            (folder / f"{name}.pem").write_bytes(made.pem)
            (folder / f"{name}.key").write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        context = tls(folder / "server.key", folder / "server.pem", folder / "ca.pem", listening=True)
        self.server = KeyServer("127.0.0.1:0", context, lambda shown: shown.account, self._service_for, places, first)
        self.thread = threading.Thread(target=self.server.serve, daemon=True)
        self.thread.start()

    def _service_for(self, account: str) -> KeyService:
        def permit(use: Use) -> Any:
            raise KeyRefused("key.use", "not here")

        def record(decision: Decision) -> None:
            self.served.append(account)

        return KeyService({"key": bytes(32)}, permit, record)

    def idle(self) -> socket.socket:
        """A connection that asks for nothing."""
        return socket.create_connection(("127.0.0.1", self.server.port), timeout=SECONDS)

    def ask(self, name: str, attest: Callable[[bytes], bytes] = lambda nonce: nonce) -> str:
        """The rule by which an institution's request is refused: the service's answer."""
        context = tls(self.folder / f"{name}.key", self.folder / f"{name}.pem", self.folder / "ca.pem", listening=False)
        with self.idle() as plain, context.wrap_socket(plain, server_hostname="localhost") as secure:
            with pytest.raises(KeyRefused) as refused:
                ask(Messages(secure, SECONDS, 1 << 20), USE, bytes(32), attest)
            return refused.value.rule

    @contextlib.contextmanager
    def begun(self, name: str) -> Iterator[Callable[[], str]]:
        """A request that an institution has begun and goes on with when it is told to."""
        nonce, go_on, answers = threading.Event(), threading.Event(), list[str]()

        def attest(_: bytes) -> bytes:
            nonce.set()
            go_on.wait(SECONDS)
            return b"evidence"

        asking = threading.Thread(target=lambda: answers.append(self.ask(name, attest)), daemon=True)
        asking.start()
        assert nonce.wait(SECONDS)

        def finished() -> str:
            go_on.set()
            asking.join(SECONDS)
            return answers[0]

        try:
            yield finished
        finally:
            go_on.set()
            asking.join(SECONDS)

    def close(self) -> None:
        self.server.close()
        self.thread.join(SECONDS)
        assert not self.thread.is_alive()


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    made = Service(tmp_path, Places(hall=4, places=2, each=1))
    yield made
    made.close()


def put_out(connection: socket.socket) -> bool:
    """Waits until the service has ended a connection that asks for nothing."""
    with contextlib.suppress(ConnectionResetError):
        return connection.recv(1) == b""
    return True


def test_idle_connections_however_many_keep_nobody_from_being_served(service: Service) -> None:
    with contextlib.ExitStack() as stack:
        idle = [stack.enter_context(service.idle()) for _ in range(12)]
        give_up, gone = time.monotonic() + SECONDS, set[int]()
        for each in idle:
            each.setblocking(False)
        while len(gone) < 8:  # no more than four wait
            for number, each in enumerate(idle):
                with contextlib.suppress(BlockingIOError):
                    if put_out(each):
                        gone.add(number)
            assert time.monotonic() < give_up
            time.sleep(0.01)
        assert service.ask("one") == "key.use"
    assert service.served == [ACCOUNTS["one"]]


def test_a_connection_that_asks_for_nothing_is_ended_after_a_short_time(tmp_path: Path) -> None:
    service = Service(tmp_path, Places(), first=0.2)
    with service.idle() as connection:
        assert put_out(connection)
    service.close()
    assert service.served == []


def test_an_institution_that_does_not_go_on_fills_its_own_places_alone(service: Service) -> None:
    with service.begun("one") as finished:
        with pytest.raises(StreamBroken):
            service.ask("one")
        assert service.ask("two") == "key.use"
        assert finished() == "key.use"
    give_up = time.monotonic() + SECONDS
    while True:  # its place is free a moment after its answer
        with contextlib.suppress(StreamBroken):
            assert service.ask("one") == "key.use"
            break
        assert time.monotonic() < give_up
    assert service.served == [ACCOUNTS[name] for name in ("two", "one", "one")]


def test_a_request_waits_while_all_places_are_taken(service: Service) -> None:
    answers: list[str] = []
    waiting = threading.Thread(target=lambda: answers.append(service.ask("three")), daemon=True)
    with service.begun("one") as one, service.begun("two"):
        waiting.start()
        assert not answers
        assert one() == "key.use"
        waiting.join(SECONDS)
    assert answers == ["key.use"]


def test_requests_that_wait_for_a_place_are_an_accounts_own_too() -> None:
    """So who asks however often has no more threads of a crowded service, and no better chance of the next place, than others."""
    places, go_on = Places(places=1, each=1), threading.Event()

    def wait() -> None:
        while not go_on.is_set():
            with contextlib.suppress(Crowded), places.served("two", SECONDS):  # crowded: by the other of its own, below
                go_on.set()

    waiting = threading.Thread(target=wait, daemon=True)
    with places.served("one", SECONDS):
        waiting.start()
        give_up, said = time.monotonic() + SECONDS, ""
        while "the account has 1 requests" not in said:
            assert time.monotonic() < give_up and not go_on.is_set()
            with pytest.raises(Crowded) as crowded, places.served("two", 0.01):
                pass
            said = str(crowded.value)
        with pytest.raises(Crowded, match="all of 1 places"), places.served("three", 0.01):
            pass
    waiting.join(SECONDS)
    assert go_on.is_set()


def test_a_service_that_is_closed_puts_out_who_asks_for_nothing_and_answers_who_has_asked(tmp_path: Path) -> None:
    service = Service(tmp_path, Places())
    with service.idle() as connection, service.begun("one") as finished:
        service.server.close()
        assert put_out(connection)
        assert finished() == "key.use"
    service.close()


# -- whose log it is


def chain(operators: dict[str, int]) -> Any:
    acts = SimpleNamespace(acts_for=lambda operator, account, scopes: operators.get(operator, 0) & scopes == scopes)
    return SimpleNamespace(participants=acts)


def test_the_log_is_the_institutions_also_where_an_operators_key_signs_it(tmp_path: Path) -> None:
    service = Service(tmp_path, Places())
    service.close()
    certificate, operator = service.certificates["one"], signer_from_uri("mnemonic:7")
    own = signer_from_uri("mnemonic:1")
    assert institution_signer(chain({}), certificate, own) is own
    signer = institution_signer(chain({operator.address: 2}), certificate, operator)
    assert isinstance(signer, OperatorSigner) and signer.address == ACCOUNTS["one"]
    assert signer.sign_digest(bytes(32)) == operator.sign_digest(bytes(32))
    for scopes in ({}, {operator.address: 1}):
        with pytest.raises(Configuration, match="may not sign") as refused:
            institution_signer(chain(scopes), certificate, operator)
        assert "tally operator authorise" in refused.value.remedy
