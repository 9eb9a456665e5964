"""The two services of ``node.proto``. Each method identifies its caller, checks what it may do, and hands the rest on."""

from __future__ import annotations

import asyncio
import functools
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import grpc
import structlog
from tallystick.chain.connection import Chain
from tallystick.protocol import canonical, merkle
from tallystick.protocol.audit import AuditRecord
from tallystick.protocol.errors import GRPC_STATUS, NotFound, PeerFailed, Refused, TallystickError
from tallystick.protocol.identity import ROLES
from tallystick.protocol.proof.attested import MAX_IDENTITIES
from tallystick.protocol.task import TaskSpec
from tallystick.signing import Signer
from tallystick.wire import node_pb2, node_pb2_grpc

from tallystick_node.data.attach import attach
from tallystick_node.evidence.bundling import build_bundle
from tallystick_node.peers.exchange import Peers, outgoing, receive_into
from tallystick_node.peers.identity import certificate_of
from tallystick_node.peers.links import PROTOCOL_VERSION
from tallystick_node.runs.attempt import result_folder
from tallystick_node.runs.engine import Runs
from tallystick_node.server.door import Door
from tallystick_node.server.vouching import Question, Voucher
from tallystick_node.settings import Settings
from tallystick_node.store.database import RunRecord, Store
from tallystick_node.workloads.registry import workloads

LOG = structlog.get_logger()
CHUNK = 1 << 20
FINAL = ("refused", "proved", "expired", "cancelled", "failed")


def problem_of(error: TallystickError) -> node_pb2.Problem:
    """An error as it travels."""
    return node_pb2.Problem(**error.problem())


async def abort(context: Any, error: TallystickError) -> None:
    """End a call with the status of an error and the error itself in the trailing metadata."""
    status = getattr(grpc.StatusCode, GRPC_STATUS.get(error.code, "INTERNAL"))
    trailing = (("tallystick-problem-bin", problem_of(error).SerializeToString()),)
    await context.abort(status, error.message, trailing)


def answers(method: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
    """A unary method that ends with our errors as gRPC statuses, and says nothing of a defect but that it is one."""

    @functools.wraps(method)
    async def wrapped(self: Any, request: Any, context: Any) -> Any:
        try:
            return await method(self, request, context)
        except TallystickError as error:
            LOG.info("call refused", method=method.__name__, code=error.code, problem=error.message, party=error.party)
            await abort(context, error)

    return wrapped


class NodeService(node_pb2_grpc.NodeServicer):
    """What participants ask of this node."""

    def __init__(
        self, door: Door, settings: Settings, store: Store, chain: Chain, runs: Runs, signer: Signer, release: str, name: str
    ) -> None:
        self._door = door
        self._settings = settings
        self._store = store
        self._chain = chain
        self._runs = runs
        self._signer = signer
        self._release = release
        self._name = name

    @answers
    async def GetInfo(self, request: Any, context: Any) -> node_pb2.Info:  # noqa: N802 - named by node.proto
        """Who this node is and what it runs. Any participant."""
        await self._door.caller(context)
        cursor = await asyncio.to_thread(self._store.cursor)
        return node_pb2.Info(
            account=self._signer.address,
            release=self._release,
            protocol_versions=[PROTOCOL_VERSION],
            chain_id=self._chain.deployment.chain_id,
            head_block=await asyncio.to_thread(self._chain.head),
            indexed_block=cursor[0] if cursor else 0,
            workloads=sorted(workloads()),
            name=self._name,
        )

    @answers
    async def SubmitTask(self, request: Any, context: Any) -> node_pb2.TaskStatus:  # noqa: N802
        """Take a task's documents. The requester."""
        caller = await self._door.caller(context)
        run = await asyncio.to_thread(self._runs.submit, caller, request.spec, list(request.grants))
        return await asyncio.to_thread(self._status, run, caller)

    @answers
    async def PlanTask(self, request: Any, context: Any) -> node_pb2.Plan:  # noqa: N802
        """What a task would promise, cost and meet here. Any participant."""
        await self._door.caller(context)
        security, cost, refusal = await asyncio.to_thread(self._runs.plan, request.spec, dict(request.rows))
        return node_pb2.Plan(
            security=json.dumps(asdict(security)),
            cost=json.dumps(asdict(cost)),
            refusal_rule=refusal.rule if refusal else "",
            refusal=problem_of(refusal) if refusal else None,
        )

    @answers
    async def GetTask(self, request: Any, context: Any) -> node_pb2.TaskStatus:  # noqa: N802
        """How a task stands here. Those who take part in it, and regulators."""
        caller = await self._door.caller(context)
        run = await asyncio.to_thread(self._visible_run, caller, request.task)
        return await asyncio.to_thread(self._status, run, caller)

    async def WatchTask(self, request: Any, context: Any) -> AsyncIterator[node_pb2.TaskStatus]:  # noqa: N802
        """Every change of a task until it is final."""
        try:
            caller = await self._door.caller(context)
            last = None
            while True:
                run = await asyncio.to_thread(self._visible_run, caller, request.task)
                status = await asyncio.to_thread(self._status, run, caller)
                if status != last:
                    yield status
                    last = status
                if run.state in FINAL:
                    return
                await asyncio.sleep(0.2)
        except TallystickError as error:
            await abort(context, error)

    async def GetResult(self, request: Any, context: Any) -> AsyncIterator[node_pb2.FileChunk]:  # noqa: N802
        """The result files. This node's own account."""
        try:
            caller = await self._door.caller(context)
            self._require_own(caller)
            folder = result_folder(self._settings, request.task)
            run = await asyncio.to_thread(self._store.run, request.task)
            if run is None or run.state != "proved" or not folder.exists():
                raise NotFound("there is no proved result of this task here", party=request.task)
            await asyncio.to_thread(self._note_access, "result", request.task, caller)
            for path in sorted(folder.iterdir()):
                async for chunk in _chunks(path.name, path):
                    yield chunk
        except TallystickError as error:
            await abort(context, error)

    async def GetBundle(self, request: Any, context: Any) -> AsyncIterator[node_pb2.FileChunk]:  # noqa: N802
        """The evidence bundle. Those who take part in the task, and regulators."""
        try:
            caller = await self._door.caller(context)
            await asyncio.to_thread(self._visible_run, caller, request.task)
            authority = self._settings.authority.read_bytes()
            bundle = await asyncio.to_thread(build_bundle, self._store, self._chain, authority, request.task)
            await asyncio.to_thread(self._note_access, "bundle", request.task, caller)
            data = bundle.to_zip()
            for start in range(0, len(data), CHUNK):
                yield node_pb2.FileChunk(name="bundle.zip", data=data[start : start + CHUNK])
        except TallystickError as error:
            await abort(context, error)

    async def ListAudit(self, request: Any, context: Any) -> AsyncIterator[node_pb2.AuditRecord]:  # noqa: N802
        """Audit records, each with its proof against the anchored head. All for this account and regulators, else one's own."""
        try:
            caller = await self._door.caller(context)
            everything = caller == self._signer.address or await asyncio.to_thread(self._is_regulator, caller)
            # The head first: of a log that grows meanwhile, and is anchored again, what was read before would end at no head.
            head = await asyncio.to_thread(self._chain.call, "AuditLog", "headOf", self._signer.address)
            records = await asyncio.to_thread(self._store.audit_records)
            size = min(head["size"], len(records))
            proofs = merkle.InclusionProofs(records[:size])
            for index in range(request.from_index, len(records)):
                record = AuditRecord.parse(records[index])
                asked = (
                    request.kind in ("", record.kind)
                    and request.task in ("", record.task)
                    and request.dataset in ("", record.dataset)
                )
                if asked and (everything or record.party == caller):
                    proved = index < size
                    inclusion = proofs.path(index) if proved else []
                    yield node_pb2.AuditRecord(
                        index=index, record=records[index], tree_size=size if proved else 0, inclusion=inclusion
                    )
        except TallystickError as error:
            await abort(context, error)

    @answers
    async def AttachDataset(self, request: Any, context: Any) -> node_pb2.AttachReply:  # noqa: N802
        """Read a local file, commit to its rows, answer the descriptor. This node's own account."""
        self._require_own(await self._door.caller(context))
        descriptor = await asyncio.to_thread(
            attach,
            self._store,
            self._settings.data_dir,
            self._signer.address,
            request.name,
            request.path,
            request.columns,
        )
        return node_pb2.AttachReply(descriptor=descriptor)

    # -- who may what

    def _require_own(self, caller: str) -> None:
        if caller != self._signer.address:
            refusal = Refused(
                "only this node's own account may do this", rule="own-account", party=caller, remedy="ask its operator"
            )
            self._door.refuse(refusal)

    def _is_regulator(self, caller: str) -> bool:
        roles = self._chain.participants.participant(caller)["roles"]
        return bool(roles & ROLES["regulator"])

    def _visible_run(self, caller: str, task: str) -> RunRecord:
        canonical.unhex32(task)
        run = self._store.run(task)
        if run is not None:
            spec = TaskSpec.parse(run.spec)
            if caller in (*spec.parties, spec.requester, self._signer.address) or self._is_regulator(caller):
                return run
        raise NotFound("this node knows no such task, or the caller takes no part in it", party=task)

    def _status(self, run: RunRecord, caller: str) -> node_pb2.TaskStatus:
        # After a phase's colon stands what the run has measured so far: that is for this node's own account.
        phase = run.phase if caller == self._signer.address else run.phase.partition(":")[0]
        known = {key: run.problem.get(key, "") for key in ("code", "message", "party", "remedy")}
        return node_pb2.TaskStatus(
            task=run.task,
            state=run.state,
            attempt=run.attempt,
            phase=phase,
            progress=run.progress,
            problem=node_pb2.Problem(**known) if run.problem else None,
            cost=json.dumps(self._runs.cost(run.task)),
        )

    def _note_access(self, what: str, task: str, caller: str) -> None:
        self._store.append_audit(
            self._signer,
            self._chain.deployment.chain_id,
            self._chain.now(),
            "access",
            f"{what} handed out",
            task=task,
            party=caller,
        )


class PeerService(node_pb2_grpc.PeerServicer):
    """What the nodes of other parties ask of this node."""

    def __init__(self, door: Door, peers: Peers, voucher: Voucher) -> None:
        self._door = door
        self._peers = peers
        self._voucher = voucher

    @answers
    async def Vouch(self, request: Any, context: Any) -> node_pb2.VouchReply:  # noqa: N802
        """Appraise the evidence of a task's run, and vouch for it. Any participant."""
        caller = await self._door.caller(context)
        named = tuple(request.identities[: MAX_IDENTITIES + 1])  # of millions, in one message, no more are looked at
        question = Question(request.claim, request.evidence, request.policy, named)
        try:
            found = await self._voucher.answer(question, caller)
        except Refused as refusal:
            self._door.refuse(Refused(refusal.message, rule=refusal.rule, party=caller, remedy=refusal.remedy))
        return node_pb2.VouchReply(vouching=found.to_bytes())

    async def Exchange(self, frames: Any, context: Any) -> AsyncIterator[node_pb2.Frame]:  # noqa: N802
        """One stream of a run."""
        try:
            account = await self._door.caller(context)
            first = await anext(aiter(frames), None)
            if first is None or first.WhichOneof("kind") != "hello":
                raise PeerFailed("a stream begins with Hello", party=account)
            run, link = await self._peers.expected(first.hello, account)
            link.identity = certificate_of(context).pem.decode()
        except TallystickError as error:
            LOG.warning("peer refused", code=error.code, problem=error.message, party=error.party)
            await abort(context, error)
            return
        reading = asyncio.create_task(receive_into(frames, link, None))
        try:
            async for frame in outgoing(run, link):
                if link.failure and frame.WhichOneof("kind") not in ("abort", "done"):
                    break
                yield frame
            await asyncio.wait([reading], timeout=5)
        finally:
            reading.cancel()
            link.fail("its stream broke")


async def _chunks(name: str, path: Path) -> AsyncIterator[node_pb2.FileChunk]:
    with path.open("rb") as file:
        sent = False
        while part := await asyncio.to_thread(file.read, CHUNK):
            yield node_pb2.FileChunk(name=name, data=part)
            sent = True
        if not sent:
            yield node_pb2.FileChunk(name=name, data=b"")
