"""Calls to nodes, over mutual TLS with the participant's own certificate."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import grpc
from cryptography.hazmat.primitives import serialization

from tallystick.chain.aio import ending
from tallystick.protocol.errors import Configuration, PeerFailed, SignerLocked, TallystickError, error_of
from tallystick.wire import node_pb2, node_pb2_grpc

LIMIT = 8 << 20


def server_name(account: str) -> str:
    """The DNS name under which an account's certificate serves: TLS itself then binds a connection to the account."""
    return f"{account[2:].lower()}.tallystick.internal"


class Stream(Iterator[Any]):
    """What a node answers, as it comes. Iterating raises what the node answered, or PeerFailed when it does not answer.

    It closes itself at its end. :meth:`close` ends it before, from any thread, also while another waits for the next answer.
    """

    def __init__(self, channel: Any, answers: Any, explain: Callable[[Any], TallystickError]) -> None:
        self._channel = channel
        self._answers = answers
        self._explain = explain
        self._closed = False

    def __next__(self) -> Any:
        try:
            return next(self._answers)
        except StopIteration:
            self.close()
            raise
        except grpc.RpcError as error:
            asked = self._closed
            self.close()
            if asked:
                raise StopIteration from None
            raise self._explain(error) from None

    def close(self) -> None:
        """End the call."""
        self._closed = True
        self._answers.cancel()
        self._channel.close()

    def __enter__(self) -> Stream:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Nodes:
    """The nodes that a participant talks to: ``addresses`` maps accounts to host:port.

    A node is trusted to be an account's when its certificate comes from the consortium's authority and is for that account.
    ``password`` is asked when the key is encrypted. Every call has a channel of its own, so this may be used from several
    threads at once. Raises Configuration (a file that cannot be read) or SignerLocked (a key that does not open).
    """

    def __init__(
        self,
        addresses: Mapping[str, str],
        *,
        certificate: Path,
        key: Path,
        authority: Path,
        password: Callable[[], str] | None = None,
    ) -> None:
        self._addresses = dict(addresses)
        self._credentials = grpc.ssl_channel_credentials(
            root_certificates=_content(authority),
            private_key=_opened(key, password),
            certificate_chain=_content(certificate),
        )

    @property
    def accounts(self) -> list[str]:
        """The accounts whose nodes are known."""
        return list(self._addresses)

    def address(self, account: str) -> str:
        """Where an account's node is, host:port. Raises Configuration."""
        target = self._addresses.get(account)
        if target is None:
            raise Configuration("no address is known for the node", party=account, remedy="add it to [nodes]")
        return target

    def call(self, account: str, method: str, request: Any, seconds: float = 60.0) -> Any:
        """One unary call. Raises what the node answered, or PeerFailed when it does not answer."""
        target = self.address(account)
        with self._channel(account, target) as channel:
            stub = node_pb2_grpc.NodeStub(channel)
            try:
                answer = getattr(stub, method).future(request, timeout=seconds, wait_for_ready=False)
                with ending(answer.cancel):
                    return answer.result()
            except grpc.FutureCancelledError:
                raise PeerFailed("the call was cancelled", party=account) from None
            except grpc.RpcError as error:
                raise self._problem(error, account, target) from None

    def stream(self, account: str, method: str, request: Any, seconds: float = 600.0) -> Stream:
        """One call that answers with a stream."""
        target = self.address(account)
        channel = self._channel(account, target)
        answers = getattr(node_pb2_grpc.NodeStub(channel), method)(request, timeout=seconds)
        return Stream(channel, answers, lambda error: self._problem(error, account, target))

    def watch(self, account: str, task: str, seconds: float = 600.0) -> Stream:
        """Every change of a task at one node (``TaskStatus``), until it is final there."""
        return self.stream(account, "WatchTask", node_pb2.TaskRequest(task=task), seconds)

    def files(self, account: str, method: str, task: str, folder: Path) -> list[Path]:
        """Fetch files into ``folder`` (mode 0600); names that are no plain file name are refused.

        A file is there under its name when all of it is: what a broken connection leaves ends in ``.partial``.
        """
        found: dict[str, Path] = {}
        with self.stream(account, method, node_pb2.TaskRequest(task=task)) as chunks:
            for chunk in chunks:
                if Path(chunk.name).name != chunk.name or chunk.name in ("", ".", ".."):
                    raise PeerFailed("the node sent a file name that is a path", party=account)
                path = folder / f"{chunk.name}.partial"
                if chunk.name not in found:
                    found[chunk.name] = path
                    _begin(path)
                with path.open("ab") as file:
                    file.write(chunk.data)
        return [path.replace(folder / name) for name, path in found.items()]

    def _channel(self, account: str, target: str) -> Any:
        options = [
            ("grpc.ssl_target_name_override", server_name(account)),
            ("grpc.max_receive_message_length", LIMIT),
            ("grpc.max_send_message_length", LIMIT),
        ]
        return grpc.secure_channel(target, self._credentials, options=options)

    def _problem(self, error: Any, account: str, target: str) -> TallystickError:
        for key, value in error.trailing_metadata() or ():
            if key == "tallystick-problem-bin":
                problem = node_pb2.Problem.FromString(value)
                return error_of(problem.code, problem.message, party=problem.party, remedy=problem.remedy)
        # gRPC's own words name library internals; whether TLS or the network said no, it does not tell reliably.
        happened = {
            grpc.StatusCode.UNAVAILABLE: "does not answer, or not to this certificate",
            grpc.StatusCode.DEADLINE_EXCEEDED: "did not answer in time",
        }
        return PeerFailed(
            f"the node at {target} {happened.get(error.code(), f'failed ({error.code().name.lower()})')}",
            party=account,
            remedy="check that it runs, and that both certificates come from one authority",
        )


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise Configuration(f"the file cannot be read: {error.strerror}", party=str(path), remedy="check the settings") from None


def _opened(path: Path, password: Callable[[], str] | None) -> bytes:
    """The key as gRPC takes it: an encrypted one is opened in memory and never written."""
    data = _content(path)
    if b"ENCRYPTED" not in data:
        return data
    if password is None:
        raise SignerLocked("the key is encrypted", party=str(path), remedy="give its password")
    try:
        key = serialization.load_pem_private_key(data, password().encode())
    except (ValueError, TypeError):
        raise SignerLocked("the key does not open", party=str(path), remedy="check the password") from None
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())


def _begin(path: Path) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")
        path.chmod(0o600)
    except OSError as error:
        raise Configuration(f"the file cannot be made: {error.strerror}", party=str(path), remedy="choose another folder") from None
