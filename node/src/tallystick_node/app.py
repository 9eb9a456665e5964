"""The composition root: ``tallystick-node run --config FILE`` wires one institution's node and runs it until SIGTERM.

``check`` opens everything that ``run`` would, says what is wrong, and ends; ``migrate`` brings the store to this release.
``warm-up`` compiles what the engines need, which a node else does after its first start, before it accepts a task that needs it.
``import-model MODEL.onnx FOLDER`` makes files of a trained model, to publish and to predict with.
``export-model FOLDER MODEL.onnx`` writes the model of a training, whose result files are in the folder, as ONNX.
``keys`` serves the data keys of a file to enclaves that the chain lets have them.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import hashlib
import json
import signal
import sys
import time
from datetime import UTC, datetime
from importlib import resources
from pathlib import Path
from typing import Any, NoReturn

import grpc
import structlog
from prometheus_client import Gauge
from tallystick.attestation.policy import AppraisalPolicy
from tallystick.chain.connection import Chain
from tallystick.chain.contract import Event
from tallystick.chain.deployment import Deployment
from tallystick.chain.profile import profile_named
from tallystick.protocol import canonical
from tallystick.protocol.errors import ChainUnreachable, Configuration, TallystickError, exit_code
from tallystick.protocol.identity import Certificate
from tallystick.protocol.operators import NODE, Scope, scope_names
from tallystick.protocol.proof.vouching import Vouching
from tallystick.protocol.task import TaskSpec
from tallystick.signing import OperatorSigner, Signer, signer_from_uri
from tallystick.wire import node_pb2_grpc

from tallystick_node import logs
from tallystick_node.anchoring.outbox import Outbox
from tallystick_node.indexer import Indexer
from tallystick_node.keys import server as key_server
from tallystick_node.peers.exchange import Peers
from tallystick_node.peers.identity import SERVER_OPTIONS, require_enrolled, server_credentials
from tallystick_node.runs.engine import Runs
from tallystick_node.runs.retention import Retention
from tallystick_node.runs.warm_up import ENGINES, WarmUp, warm
from tallystick_node.runs.workers import Workers
from tallystick_node.server import health
from tallystick_node.server.door import Door
from tallystick_node.server.services import NodeService, PeerService
from tallystick_node.server.vouching import Voucher
from tallystick_node.settings import Settings
from tallystick_node.store import migrate
from tallystick_node.store.database import Store, Write, open_engine

LOG = structlog.get_logger()
HEAD = Gauge("tallystick_chain_head", "Latest block of the chain")
LAG = Gauge("tallystick_index_lag", "Blocks between the chain's head and what was handled")
RUNS = Gauge("tallystick_active_runs", "Runs that are not final")
REACHABLE = Gauge("tallystick_chain_reachable", "1 when the chain answers")
GRACE = 5.0
READY_LAG = 50  # blocks
SWEEP = 3600.0  # seconds between two looks at what the node's folders hold
UNPROMPTED = 1.0  # seconds after which the outbox is read although nothing was written: for writes whose time has come


def release_digest() -> str:
    """SHA-256 over this node's own code, which every statement names."""
    state = hashlib.sha256()
    for package in ("tallystick", "tallystick_node"):
        root = Path(str(resources.files(package)))
        for path in sorted(root.rglob("*.py")):
            state.update(str(path.relative_to(root)).encode() + b"\0" + hashlib.sha256(path.read_bytes()).digest())
    return "sha256:" + state.hexdigest()


class Node:
    """One running node."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        key: Signer = signer_from_uri(_absolute(settings), settings.password)
        self.certificate = Certificate.parse(settings.certificate.read_bytes())
        deployment = Deployment.load(settings.deployment)
        self.chain = Chain(settings.rpc_url, deployment, signer=key, profile=profile_named(settings.chain_profile))
        require_enrolled(self.chain, self.certificate)
        self.delegated = self.certificate.account != key.address
        self.signer: Signer = OperatorSigner(self.certificate.account, key) if self.delegated else key
        self._authorised: tuple[int, float] = (int(NODE), float("inf"))  # scopes, and until when
        if self.delegated:
            require_operator(self.chain, self.certificate.account, key.address, settings)
            self._authorised = standing_of(self.chain, self.certificate.account, key.address)
        self.store = Store(settings.store)
        self.release = release_digest()
        self.peers = Peers(settings, self.chain, self.signer.address)
        self.warming = WarmUp()
        self.workers = Workers(settings.spare_workers, settings.local_work)
        self.retention = Retention(settings, self.store)
        self.runs = Runs(settings, self.store, self.chain, self.signer, self.peers, self.warming, self.workers, self.release)
        floor = (settings.policy.appraisal or AppraisalPolicy("strictest")) if settings.policy.vouches else None
        self.voucher = Voucher(self.chain, self.signer, key.address, floor, self._takes_part, self._record_vouching)
        self.indexer = Indexer(self.store, self.chain, self._on_event)
        self.outbox = Outbox(self.store, self.chain, self.runs.on_refused_write)
        self._loops: list[asyncio.Task[None]] = []

    def describe(self) -> dict[str, Any]:
        """Who this node is, for its operator."""
        return {
            "account": self.signer.address,
            "name": self.certificate.common_name,
            "release": self.release,
            "chain_id": self.chain.deployment.chain_id,
            "block": self.chain.head(),
            "certificate_ends": datetime.fromtimestamp(self.certificate.not_after, UTC).isoformat(),
            "unfinished_runs": len(self.store.active_runs()),
            "peers": dict(self.settings.peers),
        }

    def problems(self) -> list[str]:
        """Why this node cannot take tasks now; empty when it can."""
        lag = self.indexer.head - self.indexer.handled
        found = [
            (not self.indexer.reachable, "the chain does not answer"),
            (lag > READY_LAG, f"{lag} blocks of the chain are not read yet"),
            (any(loop.done() for loop in self._loops) or not self._loops, "the node is starting or stopping"),
            (self.certificate.not_after < time.time(), "the certificate has expired"),
            (self._authorised[0] & NODE != NODE, "the institution has taken back what this node's key may do"),
            (self._authorised[1] < time.time(), "what this node's key may do for the institution has expired"),
        ]
        return [words for failed, words in found if failed]

    async def run(self) -> None:
        """Serve until SIGTERM or SIGINT. Raises Configuration when another process serves with this database."""
        self.store.claim()
        server = grpc.aio.server(options=SERVER_OPTIONS)
        door = Door(self.chain, self._record_refusal)
        service = NodeService(
            door, self.settings, self.store, self.chain, self.runs, self.signer, self.release, self.certificate.common_name
        )
        node_pb2_grpc.add_NodeServicer_to_server(service, server)
        node_pb2_grpc.add_PeerServicer_to_server(PeerService(door, self.peers, self.voucher), server)
        credentials = server_credentials(self.settings.key, self.settings.certificate, self.settings.authority)
        try:
            port = server.add_secure_port(self.settings.listen, credentials)
        except RuntimeError:
            port = 0
        if port == 0:
            raise Configuration(
                f"{self.settings.listen} cannot be listened on",
                remedy="stop what uses the port, or set another `listen`",
            )
        await self.peers.listen()
        stopped = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, stopped.set)
        probes = health.serve(self.settings.metrics, self.problems)
        await self.runs.resume()
        await server.start()
        LOG.info("node serves", account=self.signer.address, port=port)
        self._loops = [
            asyncio.create_task(self.indexer.follow()),
            asyncio.create_task(self._write()),
            asyncio.create_task(self._tick()),
            asyncio.create_task(self._sweep()),
        ]
        preparing = asyncio.create_task(self._prepare())
        ended = asyncio.create_task(stopped.wait())
        done, _ = await asyncio.wait([*self._loops, ended], return_when=asyncio.FIRST_COMPLETED)
        LOG.info("node stops")
        for loop in (*self._loops, preparing):
            loop.cancel()
        await asyncio.gather(preparing, return_exceptions=True)
        await self.runs.stop()
        await self.workers.close()
        await server.stop(GRACE)
        await self.peers.close()
        probes.shutdown()
        self.store.close()
        for task in done - {ended}:
            task.result()  # a loop that ended by itself ended by a defect: show it

    async def _sweep(self) -> None:
        while True:
            await asyncio.to_thread(self.retention.sweep)
            await asyncio.sleep(SWEEP)

    async def _prepare(self) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(self.warming.run())
            await self.warming.quick.wait()  # tasks may come from now on, and a spare that starts later helps none of the first
            await self.workers.keep()

    async def _on_event(self, event: Event) -> None:
        if event.name == "OperatorChanged" and event["account"] == self.signer.address and self.delegated:
            operator = self.chain.own().address
            self._authorised = await asyncio.to_thread(standing_of, self.chain, self.signer.address, operator)
        await self.runs.on_event(event)

    def _record_refusal(self, rule: str, message: str, party: str) -> None:
        now = int(time.time())
        self.store.append_audit(self.signer, self.chain.deployment.chain_id, now, "refusal", message, party=party, rule=rule)

    def _takes_part(self, task: str) -> bool:
        run = self.store.run(task)
        return run is not None and self.signer.address in TaskSpec.parse(run.spec).parties

    def _record_vouching(self, found: Vouching, caller: str) -> None:
        """Signed, and before the answer leaves."""
        said = {"evidence": found.evidence.hex(), "identity": found.identity.hex(), "policy": found.policy.hex()}
        words = f"vouched for {found.family} evidence of attempt {found.attempt}"
        now, task = int(time.time()), canonical.hex32(found.task)
        self.store.append_audit(
            self.signer,
            found.chain_id,
            now,
            "statement",
            words,
            task=task,
            party=caller,
            detail={**said, "not_after": str(found.not_after)},
        )

    async def _write(self) -> None:
        anchored, seen, read_at = 0, -1, 0.0
        while True:
            await asyncio.sleep(min(0.2, self.chain.profile.poll_seconds * 4))
            if self.store.changes == seen and time.monotonic() < read_at + UNPROMPTED:
                continue
            seen, read_at = self.store.changes, time.monotonic()
            if await asyncio.to_thread(self.store.audit_size) > anchored:
                root, anchored = await asyncio.to_thread(self.store.audit_head)
                head = [root, anchored]
                write = Write(f"anchor:{anchored}", "AuditLog", "anchor", head)
                if self.delegated:
                    write = Write(f"anchor:{anchored}", "AuditLog", "anchorFor", [self.signer.address, *head])
                await asyncio.to_thread(self.store.enqueue, write)
            if self.indexer.reachable:
                await asyncio.to_thread(self.outbox.flush)

    async def _tick(self) -> None:
        while True:
            HEAD.set(self.indexer.head)
            LAG.set(max(0, self.indexer.head - self.indexer.handled))
            REACHABLE.set(int(self.indexer.reachable))
            RUNS.set(len(await asyncio.to_thread(self.store.active_runs)))
            with contextlib.suppress(ChainUnreachable):  # the indexer reports it
                await self.runs.tick()
            await asyncio.sleep(1)


def require_operator(chain: Chain, account: str, operator: str, settings: Settings) -> None:
    """Raise Configuration unless the certificate's account lets the signer's do what this node does by itself."""
    needed = NODE if settings.policy.largest_stake is None else NODE | Scope.STAKE
    if not chain.participants.acts_for(operator, account, int(needed)):
        raise Configuration(
            f"the certificate is of {account}, for which the signer {operator} may not {', '.join(scope_names(needed))}",
            party=str(settings.certificate),
            remedy="use the keystore of the certificate's account, or authorise the signer's (`tally operator authorise`)",
        )


def standing_of(chain: Chain, account: str, operator: str) -> tuple[int, float]:
    """What an operator may do for an account, as bits of its scopes, and until when."""
    held = chain.participants.operator_at(account, operator)
    return held["scopes"], float(held["notAfter"])


def _absolute(settings: Settings) -> str:
    scheme, _, rest = settings.signer.partition(":")
    return f"keystore:{settings.home / rest}" if scheme == "keystore" else settings.signer


def main() -> None:
    """Command line: ``run`` serves; ``check`` opens everything and says what is wrong; the others as the module says."""
    parser = argparse.ArgumentParser(prog="tallystick-node", description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    for name in ("run", "check", "migrate"):
        commands.add_parser(name).add_argument("--config", type=Path, required=True, help="settings in TOML")
    serving = commands.add_parser("keys", help="the institution's key service")
    serving.add_argument("--config", type=Path, required=True, help="the node's settings in TOML")
    serving.add_argument("--keys", type=Path, required=True, metavar="KEYS.json", help="data keys, mode 0600")
    serving.add_argument("--listen", required=True, metavar="HOST:PORT", help="where institutions connect (mutual TLS)")
    serving.add_argument("--log", type=Path, required=True, metavar="FILE", help="signed records of each decision")
    commands.add_parser("warm-up")
    importing = commands.add_parser("import-model", help="a trained model for the workload prediction")
    importing.add_argument("model", type=Path, metavar="MODEL.onnx")
    importing.add_argument(
        "folder", type=Path, metavar="FOLDER", help="a new folder for weights.csv, architecture.json, features.json"
    )
    exporting = commands.add_parser("export-model", help="the model of a task of the workload training, as ONNX")
    exporting.add_argument("folder", type=Path, metavar="FOLDER", help="its result files")
    exporting.add_argument("model", type=Path, metavar="MODEL.onnx", help="a new file")
    arguments = parser.parse_args()
    logs.write_json()
    try:
        if arguments.command == "import-model":
            _import_model(arguments.model, arguments.folder)
            return
        if arguments.command == "export-model":
            _export_model(arguments.folder, arguments.model)
            return
        if arguments.command == "warm-up":
            _warm_up()
            return
        settings = Settings.load(arguments.config)
        if arguments.command == "migrate":
            sys.stdout.write(f"the store is at revision {migrate.upgrade(open_engine(settings.store))}\n")
            return
        if arguments.command == "keys":
            signer = signer_from_uri(_absolute(settings), settings.password)
            key_server.run(settings, signer, arguments.keys, arguments.listen, arguments.log)
            return
        node = Node(settings)
        if arguments.command == "run":
            asyncio.run(node.run())
        else:
            sys.stdout.write(json.dumps(node.describe(), indent=1) + "\n")
    except TallystickError as error:
        _complain(error)


def _import_model(model: Path, folder: Path) -> None:
    from tallystick_node.data.model_files import write_model  # here: no node that runs needs the engines that these know
    from tallystick_node.data.onnx_model import read_model

    imported = read_model(model)
    written = write_model(imported, folder)
    public = ", ".join(each.name for each in written[1:])
    sys.stdout.write(f"{len(imported.weights)} weights in {written[0]}, which is secret; public: {public}\n")


def _export_model(folder: Path, model: Path) -> None:
    from tallystick_node.data.onnx_export import export_model  # here: as in _import_model

    content = export_model(folder)
    try:
        with model.open("xb") as file:
            file.write(content)
    except OSError as error:
        raise Configuration(f"{model} cannot be written: {error.strerror}", remedy="name a new file") from None
    sys.stdout.write(f"{len(content)} bytes in {model}\n")


def _warm_up() -> None:
    for engine in ENGINES:
        seconds = warm(engine)
        sys.stdout.write(
            f"{engine}: " + ("compiled already" if seconds is None else f"compiled and run once in {seconds:.1f} s") + "\n"
        )
        sys.stdout.flush()


def _complain(error: TallystickError) -> NoReturn:
    sys.stderr.write(f"{error.message}\n")
    if error.party:
        sys.stderr.write(f"  concerns: {error.party}\n")
    if error.remedy:
        sys.stderr.write(f"  remedy:   {error.remedy}\n")
    sys.exit(exit_code(error))


if __name__ == "__main__":
    main()
