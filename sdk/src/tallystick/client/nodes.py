"""Calls to nodes, over mutual TLS with the participant's own certificate."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

import grpc

from tallystick.protocol.errors import Configuration, PeerFailed, TallystickError, error_of
from tallystick.wire import node_pb2, node_pb2_grpc

T = TypeVar("T")
LIMIT = 8 << 20


def server_name(account: str) -> str:
    """The DNS name under which an account's certificate serves: TLS itself then binds a connection to the account."""
    return f"{account[2:].lower()}.tallystick.internal"


class Nodes:
    """The nodes that a participant talks to: ``addresses`` maps accounts to host:port.

    A node is trusted to be an account's when its certificate comes from the consortium's authority and is for that account.
    """

    def __init__(self, addresses: Mapping[str, str], *, certificate: Path, key: Path, authority: Path) -> None:
        self._addresses = dict(addresses)
        self._credentials = grpc.ssl_channel_credentials(
            root_certificates=authority.read_bytes(),
            private_key=key.read_bytes(),
            certificate_chain=certificate.read_bytes(),
        )

    @property
    def accounts(self) -> list[str]:
        """The accounts whose nodes are known."""
        return list(self._addresses)

    def call(self, account: str, method: str, request: Any, seconds: float = 60.0) -> Any:
        """One unary call. Raises what the node answered, or PeerFailed when it does not answer."""
        return self._with(account, lambda stub: getattr(stub, method)(request, timeout=seconds, wait_for_ready=False))

    def stream(self, account: str, method: str, request: Any, seconds: float = 600.0) -> Iterator[Any]:
        """One call that answers with a stream. Raises as :meth:`call`."""
        return iter(self._with(account, lambda stub: list(getattr(stub, method)(request, timeout=seconds))))

    def watch(self, account: str, task: str, seconds: float, each: Callable[[Any], None]) -> Any:
        """Follow a task at one node, with ``each`` for every change; the last status. Raises as :meth:`call`."""

        def follow(stub: Any) -> Any:
            last = None
            for status in stub.WatchTask(node_pb2.TaskRequest(task=task), timeout=seconds):
                each(status)
                last = status
            return last

        return self._with(account, follow)

    def files(self, account: str, method: str, task: str, folder: Path) -> list[Path]:
        """Fetch files into ``folder`` (mode 0600); names that are no plain file name are refused."""
        folder.mkdir(parents=True, exist_ok=True)
        found: dict[str, Path] = {}
        for chunk in self.stream(account, method, node_pb2.TaskRequest(task=task)):
            if Path(chunk.name).name != chunk.name or chunk.name in ("", ".", ".."):
                raise PeerFailed("the node sent a file name that is a path", party=account)
            path = folder / chunk.name
            if chunk.name not in found:
                found[chunk.name] = path
                path.write_bytes(b"")
                path.chmod(0o600)
            with path.open("ab") as file:
                file.write(chunk.data)
        return list(found.values())

    def _with(self, account: str, use: Callable[[Any], T]) -> T:
        target = self._addresses.get(account)
        if target is None:
            raise Configuration("no address is known for the node", party=account, remedy="add it to [nodes]")
        options = [
            ("grpc.ssl_target_name_override", server_name(account)),
            ("grpc.max_receive_message_length", LIMIT),
            ("grpc.max_send_message_length", LIMIT),
        ]
        with grpc.secure_channel(target, self._credentials, options=options) as channel:
            try:
                return use(node_pb2_grpc.NodeStub(channel))
            except grpc.RpcError as error:
                raise self._problem(error, account, target) from None

    def _problem(self, error: Any, account: str, target: str) -> TallystickError:
        for key, value in error.trailing_metadata() or ():
            if key == "tallystick-problem-bin":
                problem = node_pb2.Problem.FromString(value)
                return error_of(problem.code, problem.message, party=problem.party, remedy=problem.remedy)
        detail = (error.details() or "").splitlines()[0][:200] if error.details() else ""
        return PeerFailed(
            f"the node at {target} does not answer ({error.code().name.lower()}: {detail})",
            party=account,
            remedy="check that it runs, and that both certificates come from one authority",
        )
