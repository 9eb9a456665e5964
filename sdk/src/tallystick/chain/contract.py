"""One deployed contract: calls, transactions and logs encoded and decoded by its ABI, errors by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from eth_abi.abi import decode as abi_decode
from eth_abi.abi import encode as abi_encode
from eth_abi.exceptions import DecodingError

from tallystick.chain import artifacts
from tallystick.chain.words import Irregular, reader
from tallystick.ethereum import keccak, to_checksum_address
from tallystick.protocol.errors import ContractRefused

#: What a person can do about a contract's refusal.
REMEDIES: Mapping[str, str] = {
    "NotActive": "enrol first, or ask the governor why the participant is suspended or revoked",
    "OutsideValidity": "ask the authority for a new certificate and enrol again",
    "AuthorityNotValid": "enrol with a certificate of an authority that is in force",
    "RoleMissing": "ask the authority for a certificate with this role and enrol again",
    "NotNewer": "certificates succeed one another: ask the authority for one that starts later",
    "BadAuthoritySignature": "ask the authority to certify exactly this enrolment on this chain",
    "BadPossessionSignature": "sign with the key of the certificate itself",
    "NotTheSubject": "enrol from the account that the certificate names",
    "BadValidity": "ask the authority for a certificate that ends after it starts",
    "BadRoles": "ask the authority for a certificate with at least one role, all of them known to this release",
    "BadKey": "use a public key on P-256 that is not the point at infinity",
    "UnknownAuthority": "ask the governor which number the authority has",
    "CertificateIsRevoked": "ask the authority for another certificate: this one is on its revocation list",
    "MotionExists": "wait until the standing motion is carried out, dropped or two weeks overdue",
    "NoMotion": "nothing is to be done: no motion stands against this account",
    "MotionNotDue": "carry a motion out within two weeks after it takes effect, or move again",
    "WrongStatus": "look at the participant's status first (`tally participant show`)",
    "NotAllowed": "only the governor may do this, or the participant itself where it revokes itself",
    "OnlyGovernor": "only the governor may do this",
    "OwnableUnauthorizedAccount": "only the governor, or who was named as the next one, may do this",
    "OwnableInvalidOwner": "name an account as the next governor",
    "BadOperator": "name a key that is not the participant's own",
    "BadScopes": "name scopes that this release knows: accept, sign, report, stake",
    "BadExpiry": "let the authorisation end in the future",
    "BadAuthorisation": "sign this very authorisation with the participant's own key, after what was last said of the operator",
    "InactiveParticipant": "enrol first, or ask the governor why the participant is suspended or revoked",
    "NotAnOperator": "nothing is to be done: this key may do nothing for the participant",
    "NotAnOperatorOf": "have the participant authorise this key to report (`tally operator authorise`)",
    "TooManyOperators": "authorise again a key that was an operator before",
    "ServesAnother": "make another key: this one was authorised by another participant first",
    "VerifierExists": "a verifier is never replaced: make one for a new kind of proof",
    "NotTheOwner": "only the dataset's owner may do this",
    "NotTheDatasetOwner": "only the owner of the grant's dataset revokes it",
    "DatasetExists": "it is published already: revise it instead",
    "EmptyCommitment": "attach the data at the node and publish the digests that it answers",
    "GrantExists": "it is on the chain already: use it, or issue one with another salt",
    "BadGrantValidity": "let the grant end after it starts, and in the future",
    "NoUses": "allow at least one use",
    "NotNarrower": "lower what the grant still allows, or issue a new grant for more",
    "OnlyTaskLedger": "grants are debited by the start of a task, not by hand",
    "OnlyProofRegistry": "submit the proof to the proof registry",
    "GrantUsedUp": "ask the dataset's owner for a new grant",
    "BudgetExceeded": "spend less epsilon, or ask the dataset's owner for a new grant",
    "BadOwnerSignature": "the dataset's owner must sign this very grant on this chain",
    "UnknownGrant": "relay the owner's signed grant to the chain first",
    "UnknownDataset": "check the id: it is made of the owner's account and the first descriptor",
    "UnknownProofKind": "ask the governor to add a verifier of this kind (`tally chain deploy`), or choose another",
    "UnknownKind": "ask the governor to add a verifier of this kind (`tally chain deploy`)",
    "UnknownIssuer": "use a certificate by Intel's PCK authorities, or by a simulation that the governor named",
    "BadCertificate": "register the PCK certificate of the platform itself",
    "BadCertificateSignature": "give the certificate's signed part with its own signature and its issuer's key",
    "CertificateOutsideValidity": "register the platform's certificate of now",
    "PlatformExists": "nothing is to be done: the platform is registered",
    "PlatformIsRevoked": "ask the governor why: a revoked platform never counts again",
    "BadThreshold": "ask for the word of at least two verifiers",
    "AlreadySo": "nothing is to be done: it is so already",
    "WrongGenerators": "deploy the generators of this release",
    "PrecompileMissing": "this chain lacks a precompile that the verifier needs: ask for a kind of proof that the chain can check",
    "GrantIsRevoked": "ask the dataset's owner for a new grant",
    "GrantOutsideValidity": "wait until the grant is valid, or ask the owner for a new one",
    "NotTheGrantee": "propose from the account that the grant was given to",
    "WrongDataset": "name the grant that belongs to this dataset, with its own terms",
    "DatasetWithdrawn": "the owner ended its use: leave it out",
    "BadParties": "name each party once, in ascending order of accounts, 1 to 16 of them, each with a dataset that it owns",
    "BadDeadlines": "set the deadline for acceptance in the future, and both periods to at most 30 days",
    "BadAttempts": "allow 1 to 16 attempts",
    "NotTheRequester": "only the account that the task names as requester may do this",
    "NotAParty": "only a party of the task may do this, and only a party may be accused",
    "WrongAttempt": "look at the task's present attempt (`tally task show`) and sign for that",
    "AlreadyAccepted": "nothing is to be done: this acceptance is on the chain",
    "LengthMismatch": "give one signature for each index, and the terms of every party",
    "TaskExists": "this task was proposed already: watch it instead",
    "UnknownTask": "check the proposal: any changed member is another task",
    "WrongState": "look at the task's state first (`tally task show`)",
    "TooLate": "propose a new task with a later deadline",
    "TooEarly": "wait for the deadline",
    "BadAcceptance": "the party must sign this very task, spec and attempt on this chain",
    "BadSignature": "every party must sign this very result on this chain",
    "SignatureMissing": "collect the signatures of all parties first",
    "WrongTask": "submit the result with the proposal of its own task",
    "WrongKind": "prove the result by the kind of proof that its proposal asks for",
    "BadProof": "do not rely on this result: the proof does not show what it claims",
    "MustBePresent": "have this party sign: the requester, and parties without data, cannot be absent",
    "NotGrowing": "anchor a log that is longer than the one anchored last; a shorter one has lost records",
    "EmptyRoot": "anchor the root of a log with at least one record",
    "AgreementExists": "an agreement stands as it was opened: propose another task for other terms",
    "AgreementUnknown": "give the agreement as it was opened (`tally settlement show`), or open one first",
    "BadArbiters": "name at most 7 arbiters once each, in ascending order, none of them a party or the requester",
    "BadContribution": "every party must sign these very shares for the proved result on this chain",
    "BadPeriods": "give disputes and rulings from one second to 30 days each",
    "BadShares": "give each party its share in basis points of the fee, 10,000 in all, or none with a price",
    "BondIsPosted": "nothing is to be done: this bond is staked",
    "CoinRefused": "name an account that takes the chain's coin",
    "DisputePending": "wait for the arbiters, or conclude the dispute after its deadline",
    "NoReceiver": "name the account to pay to",
    "NotMeasured": "the agreement does not provide for measured shares, or they are recorded already",
    "NothingOwed": "nothing is to be done: there is nothing to claim here, or it is claimed already",
    "ReentrancyGuardReentrantCall": "do not call back from a payment",
    "SafeERC20FailedOperation": "allow the settlement to take the amount from the token, and hold as much of it",
    "TaskNotEnded": "wait until the task is proved or over",
    "TaskUnderWay": "open agreements before anybody accepts, and stake bonds before the task starts",
    "WrongStage": "look at the settlement's stage first (`tally settlement show`)",
    "WrongValue": "pay exactly the fee or the bond, with a token that takes nothing for itself",
    "AlreadyAtFault": "nothing is to be done: this account was found at fault",
    "NotBound": "challenge who undertook the agreement, who accepted a task without one, or a statement that was proved",
    "BondMissing": "only who staked its bond in time may challenge",
    "DisputeExists": "this account is challenged by you already: wait for the outcome",
    "DisputeIsDecided": "nothing is to be done: what was decided stays decided",
    "DisputeUnknown": "look the dispute up first (`tally dispute list`)",
    "NoContradiction": "show two statements of the same thing that differ, by the account or the two ends of the link",
    "NobodyLate": "nobody missed a deadline of this task who had staked a bond for it",
    "NotAnArbiter": "only the arbiters that the agreement names judge; the governor where it names none",
    "OpeningHolds": "nothing is to be done: the opening is true",
    "BadDemand": "name a commitment, and a row below the number of rows",
    "WrongOpening": "show the row that is demanded, by a path that leads to the demanded commitment",
    "OpinionIsGiven": "an opinion is given once",
    "UnknownAlgorithm": "register the code first (`tally algorithm register`); a changed line is another code",
    "AlgorithmExists": "nothing is to be done if this author is meant; else change a line, which makes it another algorithm",
    "AlgorithmIsWithdrawn": "look for a newer version: its author ended the use of this one for good",
    "NotTheAuthor": "only who registered the algorithm may withdraw it; others reject it (`tally algorithm review`)",
    "OwnAlgorithm": "have a participant of another organisation than the author's review it",
    "SameVerdict": "nothing is to be done: this account says so already; only another verdict is recorded",
    "NotAReviewer": "name an account that reviewed this code (`tally algorithm reviews`)",
    "KeyExists": "nothing is to be done: this account registered this circuit's key already",
    "PrecompileTooLenient": "ask for a kind of proof that this chain can check: its pairing takes points outside of the group",
    "NotAscending": "name each account once, in ascending order",
    "MemberMissing": "give the digests of code, card or reason, none of them zero, and a kind",
    "WrongTerms": "give the agreement as it was opened, or the standard one where none was",
}


#: What the compiler itself reverts with: `require` with a text, and a failed check such as an overflow.
BUILT_IN: tuple[dict[str, Any], ...] = (
    {"name": "Error", "inputs": [{"name": "message", "type": "string"}]},
    {"name": "Panic", "inputs": [{"name": "code", "type": "uint256"}]},
)


@dataclass(frozen=True)
class Event:
    """One event as the chain recorded it. ``arguments`` by the names of the interface; bytes stay bytes."""

    contract: str
    name: str
    arguments: Mapping[str, Any]
    block: int
    block_hash: str
    transaction: str
    log_index: int

    def __getitem__(self, name: str) -> Any:
        return self.arguments[name]


class Contract:
    """The ABI of one contract, bound to an address."""

    def __init__(self, name: str, address: str) -> None:
        self.name = name
        self.address = to_checksum_address(address)
        self._functions = {entry["name"]: entry for entry in artifacts.load(name).abi if entry["type"] == "function"}

    def encode(self, function: str, *arguments: Any) -> str:
        """Call data for ``function``."""
        entry = self._functions[function]
        types = [_type_of(member) for member in entry["inputs"]]
        return "0x" + (_selector(entry) + abi_encode(types, list(arguments))).hex()

    def decode(self, function: str, data: bytes) -> Any:
        """What ``function`` returned: a single value, or a dict by member names for a struct."""
        outputs = self._functions[function]["outputs"]
        if not outputs:
            return None
        values = abi_decode([_type_of(member) for member in outputs], data)
        named = [_named(member, value) for member, value in zip(outputs, values, strict=True)]
        return named[0] if len(named) == 1 else tuple(named)


def decode_log(addresses: Mapping[str, str], log: Mapping[str, Any]) -> Event | None:
    """The event in a JSON-RPC log, or None when it is none of ours. ``addresses`` maps lower-case address to contract."""
    contract = addresses.get(log["address"].lower())
    if contract is None or not log["topics"]:
        return None
    kind = _kinds(contract).get(log["topics"][0])
    if kind is None:
        return None
    arguments: dict[str, Any] = {}
    for read, topic in zip(kind.indexed, log["topics"][1:], strict=True):
        arguments.update(read(bytes.fromhex(topic[2:])))
    arguments.update(kind.plain(bytes.fromhex(log["data"][2:])))
    return Event(
        contract=contract,
        name=kind.name,
        arguments=arguments,
        block=int(log["blockNumber"], 16),
        block_hash=log["blockHash"],
        transaction=log["transactionHash"],
        log_index=int(log["logIndex"], 16),
    )


def name_of_log(addresses: Mapping[str, str], log: Mapping[str, Any]) -> str | None:
    """The name of the event in a JSON-RPC log, or None when it is none of ours."""
    contract = addresses.get(log["address"].lower())
    entry = _events(contract).get(log["topics"][0]) if contract is not None and log["topics"] else None
    return None if entry is None else str(entry["name"])


def decode_error(contract: str, data: bytes) -> ContractRefused:
    """The refusal in a revert's data, by the custom errors of all our contracts."""
    entry = _errors().get(data[:4])
    if entry is None:
        return ContractRefused("the contract reverted without a reason", error="unknown", party=contract)
    try:
        values = abi_decode([_type_of(member) for member in entry["inputs"]], data[4:])
    except (DecodingError, ValueError, ArithmeticError):
        values = ()
    arguments = {member["name"]: _named(member, value) for member, value in zip(entry["inputs"], values, strict=False)}
    shown = ", ".join(f"{name}={_shown(value)}" for name, value in arguments.items())
    return ContractRefused(
        f"{contract} refused: {entry['name']}({shown})",
        error=entry["name"],
        arguments=tuple(arguments.values()),
        party=next((arguments[m["name"]] for m in entry["inputs"] if m["type"] == "address" and m["name"] in arguments), contract),
        remedy=REMEDIES.get(entry["name"], ""),
    )


@cache
def _events(contract: str) -> dict[str, dict[str, Any]]:
    entries = [entry for entry in artifacts.load(contract).abi if entry["type"] == "event"]
    return {"0x" + keccak(signature_of(entry).encode()).hex(): entry for entry in entries}


@dataclass(frozen=True)
class _Kind:
    """One event of the ABI, and what reads its topics and its data to values by name."""

    name: str
    indexed: tuple[Callable[[bytes], dict[str, Any]], ...]
    plain: Callable[[bytes], dict[str, Any]]


@cache
def _kinds(contract: str) -> dict[str, _Kind]:
    kinds = {}
    for topic, entry in _events(contract).items():
        indexed = tuple(_reader([member]) for member in entry["inputs"] if member["indexed"])
        kinds[topic] = _Kind(entry["name"], indexed, _reader([member for member in entry["inputs"] if not member["indexed"]]))
    return kinds


def _reader(members: Sequence[Mapping[str, Any]]) -> Callable[[bytes], dict[str, Any]]:
    """What reads an encoding to values by name: by a table where it is regular, else by the ABI library, which raises for what is
    none."""
    types = [_type_of(member) for member in members]

    def thorough(data: bytes) -> dict[str, Any]:
        return {m["name"]: _named(m, value) for m, value in zip(members, abi_decode(types, data), strict=True)}

    try:
        quick = reader(members)
    except Irregular:
        return thorough

    def read(data: bytes) -> dict[str, Any]:
        try:
            return quick(data)
        except Irregular:
            return thorough(data)

    return read


@cache
def _errors() -> dict[bytes, dict[str, Any]]:
    table = {_selector(entry): entry for entry in BUILT_IN}
    for name in artifacts.CONTRACTS:
        for entry in artifacts.load(name).abi:
            if entry["type"] == "error":
                table[_selector(entry)] = entry
    return table


def signature_of(entry: Mapping[str, Any]) -> str:
    """``name(type,type)``, as selectors and notices are found by."""
    return f"{entry['name']}({','.join(_type_of(member) for member in entry['inputs'])})"


def _selector(entry: Mapping[str, Any]) -> bytes:
    return keccak(signature_of(entry).encode())[:4]


def _type_of(member: Mapping[str, Any]) -> str:
    if not member["type"].startswith("tuple"):
        return str(member["type"])
    inner = ",".join(_type_of(component) for component in member["components"])
    return f"({inner}){member['type'][5:]}"


def _named(member: Mapping[str, Any], value: Any) -> Any:
    kind = member["type"]
    if kind == "tuple":
        return {c["name"]: _named(c, v) for c, v in zip(member["components"], value, strict=True)}
    if kind.endswith("[]"):
        return [_named({**member, "type": kind[:-2]}, item) for item in value]
    return to_checksum_address(value) if kind == "address" else value


def _shown(value: Any) -> str:
    return "0x" + value.hex() if isinstance(value, bytes) else str(value)
