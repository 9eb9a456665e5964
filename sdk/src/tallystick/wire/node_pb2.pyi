from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class InfoRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class Info(_message.Message):
    __slots__ = ("account", "release", "protocol_versions", "chain_id", "head_block", "indexed_block", "workloads", "name")
    ACCOUNT_FIELD_NUMBER: _ClassVar[int]
    RELEASE_FIELD_NUMBER: _ClassVar[int]
    PROTOCOL_VERSIONS_FIELD_NUMBER: _ClassVar[int]
    CHAIN_ID_FIELD_NUMBER: _ClassVar[int]
    HEAD_BLOCK_FIELD_NUMBER: _ClassVar[int]
    INDEXED_BLOCK_FIELD_NUMBER: _ClassVar[int]
    WORKLOADS_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    account: str
    release: str
    protocol_versions: _containers.RepeatedScalarFieldContainer[int]
    chain_id: int
    head_block: int
    indexed_block: int
    workloads: _containers.RepeatedScalarFieldContainer[str]
    name: str
    def __init__(self, account: _Optional[str] = ..., release: _Optional[str] = ..., protocol_versions: _Optional[_Iterable[int]] = ..., chain_id: _Optional[int] = ..., head_block: _Optional[int] = ..., indexed_block: _Optional[int] = ..., workloads: _Optional[_Iterable[str]] = ..., name: _Optional[str] = ...) -> None: ...

class SubmitTaskRequest(_message.Message):
    __slots__ = ("spec", "grants")
    SPEC_FIELD_NUMBER: _ClassVar[int]
    GRANTS_FIELD_NUMBER: _ClassVar[int]
    spec: bytes
    grants: _containers.RepeatedScalarFieldContainer[bytes]
    def __init__(self, spec: _Optional[bytes] = ..., grants: _Optional[_Iterable[bytes]] = ...) -> None: ...

class PlanRequest(_message.Message):
    __slots__ = ("spec", "rows")
    class RowsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: int
        def __init__(self, key: _Optional[str] = ..., value: _Optional[int] = ...) -> None: ...
    SPEC_FIELD_NUMBER: _ClassVar[int]
    ROWS_FIELD_NUMBER: _ClassVar[int]
    spec: bytes
    rows: _containers.ScalarMap[str, int]
    def __init__(self, spec: _Optional[bytes] = ..., rows: _Optional[_Mapping[str, int]] = ...) -> None: ...

class Plan(_message.Message):
    __slots__ = ("security", "cost", "refusal_rule", "refusal")
    SECURITY_FIELD_NUMBER: _ClassVar[int]
    COST_FIELD_NUMBER: _ClassVar[int]
    REFUSAL_RULE_FIELD_NUMBER: _ClassVar[int]
    REFUSAL_FIELD_NUMBER: _ClassVar[int]
    security: str
    cost: str
    refusal_rule: str
    refusal: Problem
    def __init__(self, security: _Optional[str] = ..., cost: _Optional[str] = ..., refusal_rule: _Optional[str] = ..., refusal: _Optional[_Union[Problem, _Mapping]] = ...) -> None: ...

class TaskRequest(_message.Message):
    __slots__ = ("task",)
    TASK_FIELD_NUMBER: _ClassVar[int]
    task: str
    def __init__(self, task: _Optional[str] = ...) -> None: ...

class TaskStatus(_message.Message):
    __slots__ = ("task", "state", "attempt", "phase", "problem", "progress", "cost")
    TASK_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    PHASE_FIELD_NUMBER: _ClassVar[int]
    PROBLEM_FIELD_NUMBER: _ClassVar[int]
    PROGRESS_FIELD_NUMBER: _ClassVar[int]
    COST_FIELD_NUMBER: _ClassVar[int]
    task: str
    state: str
    attempt: int
    phase: str
    problem: Problem
    progress: float
    cost: str
    def __init__(self, task: _Optional[str] = ..., state: _Optional[str] = ..., attempt: _Optional[int] = ..., phase: _Optional[str] = ..., problem: _Optional[_Union[Problem, _Mapping]] = ..., progress: _Optional[float] = ..., cost: _Optional[str] = ...) -> None: ...

class Problem(_message.Message):
    __slots__ = ("code", "message", "party", "remedy")
    CODE_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    PARTY_FIELD_NUMBER: _ClassVar[int]
    REMEDY_FIELD_NUMBER: _ClassVar[int]
    code: str
    message: str
    party: str
    remedy: str
    def __init__(self, code: _Optional[str] = ..., message: _Optional[str] = ..., party: _Optional[str] = ..., remedy: _Optional[str] = ...) -> None: ...

class FileChunk(_message.Message):
    __slots__ = ("name", "data")
    NAME_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    name: str
    data: bytes
    def __init__(self, name: _Optional[str] = ..., data: _Optional[bytes] = ...) -> None: ...

class AuditRequest(_message.Message):
    __slots__ = ("from_index", "kind", "task", "dataset")
    FROM_INDEX_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    TASK_FIELD_NUMBER: _ClassVar[int]
    DATASET_FIELD_NUMBER: _ClassVar[int]
    from_index: int
    kind: str
    task: str
    dataset: str
    def __init__(self, from_index: _Optional[int] = ..., kind: _Optional[str] = ..., task: _Optional[str] = ..., dataset: _Optional[str] = ...) -> None: ...

class AuditRecord(_message.Message):
    __slots__ = ("index", "record", "tree_size", "inclusion")
    INDEX_FIELD_NUMBER: _ClassVar[int]
    RECORD_FIELD_NUMBER: _ClassVar[int]
    TREE_SIZE_FIELD_NUMBER: _ClassVar[int]
    INCLUSION_FIELD_NUMBER: _ClassVar[int]
    index: int
    record: bytes
    tree_size: int
    inclusion: _containers.RepeatedScalarFieldContainer[bytes]
    def __init__(self, index: _Optional[int] = ..., record: _Optional[bytes] = ..., tree_size: _Optional[int] = ..., inclusion: _Optional[_Iterable[bytes]] = ...) -> None: ...

class AttachRequest(_message.Message):
    __slots__ = ("name", "path", "columns")
    NAME_FIELD_NUMBER: _ClassVar[int]
    PATH_FIELD_NUMBER: _ClassVar[int]
    COLUMNS_FIELD_NUMBER: _ClassVar[int]
    name: str
    path: str
    columns: bytes
    def __init__(self, name: _Optional[str] = ..., path: _Optional[str] = ..., columns: _Optional[bytes] = ...) -> None: ...

class AttachReply(_message.Message):
    __slots__ = ("descriptor",)
    DESCRIPTOR_FIELD_NUMBER: _ClassVar[int]
    descriptor: bytes
    def __init__(self, descriptor: _Optional[bytes] = ...) -> None: ...

class Frame(_message.Message):
    __slots__ = ("hello", "evidence", "abort", "done", "working", "waits_for")
    HELLO_FIELD_NUMBER: _ClassVar[int]
    EVIDENCE_FIELD_NUMBER: _ClassVar[int]
    ABORT_FIELD_NUMBER: _ClassVar[int]
    DONE_FIELD_NUMBER: _ClassVar[int]
    WORKING_FIELD_NUMBER: _ClassVar[int]
    WAITS_FOR_FIELD_NUMBER: _ClassVar[int]
    hello: Hello
    evidence: bytes
    abort: Abort
    done: bool
    working: bool
    waits_for: str
    def __init__(self, hello: _Optional[_Union[Hello, _Mapping]] = ..., evidence: _Optional[bytes] = ..., abort: _Optional[_Union[Abort, _Mapping]] = ..., done: _Optional[bool] = ..., working: _Optional[bool] = ..., waits_for: _Optional[str] = ...) -> None: ...

class Hello(_message.Message):
    __slots__ = ("task", "attempt", "spec", "protocol_version", "certificate", "ticket", "data_port")
    TASK_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    SPEC_FIELD_NUMBER: _ClassVar[int]
    PROTOCOL_VERSION_FIELD_NUMBER: _ClassVar[int]
    CERTIFICATE_FIELD_NUMBER: _ClassVar[int]
    TICKET_FIELD_NUMBER: _ClassVar[int]
    DATA_PORT_FIELD_NUMBER: _ClassVar[int]
    task: str
    attempt: int
    spec: bytes
    protocol_version: int
    certificate: bytes
    ticket: bytes
    data_port: int
    def __init__(self, task: _Optional[str] = ..., attempt: _Optional[int] = ..., spec: _Optional[bytes] = ..., protocol_version: _Optional[int] = ..., certificate: _Optional[bytes] = ..., ticket: _Optional[bytes] = ..., data_port: _Optional[int] = ...) -> None: ...

class Abort(_message.Message):
    __slots__ = ("problem",)
    PROBLEM_FIELD_NUMBER: _ClassVar[int]
    problem: Problem
    def __init__(self, problem: _Optional[_Union[Problem, _Mapping]] = ...) -> None: ...

class VouchRequest(_message.Message):
    __slots__ = ("claim", "evidence", "policy", "identities")
    CLAIM_FIELD_NUMBER: _ClassVar[int]
    EVIDENCE_FIELD_NUMBER: _ClassVar[int]
    POLICY_FIELD_NUMBER: _ClassVar[int]
    IDENTITIES_FIELD_NUMBER: _ClassVar[int]
    claim: bytes
    evidence: bytes
    policy: bytes
    identities: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, claim: _Optional[bytes] = ..., evidence: _Optional[bytes] = ..., policy: _Optional[bytes] = ..., identities: _Optional[_Iterable[str]] = ...) -> None: ...

class VouchReply(_message.Message):
    __slots__ = ("vouching",)
    VOUCHING_FIELD_NUMBER: _ClassVar[int]
    vouching: bytes
    def __init__(self, vouching: _Optional[bytes] = ...) -> None: ...
