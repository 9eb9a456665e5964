// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.20;

import {EIP712} from "@openzeppelin/contracts/utils/cryptography/EIP712.sol";
import {IDatasetRegistry} from "./interfaces/IDatasetRegistry.sol";
import {IGrantLedger} from "./interfaces/IGrantLedger.sol";
import {IParticipantRegistry} from "./interfaces/IParticipantRegistry.sol";
import {IProofRegistry} from "./interfaces/IProofRegistry.sol";
import {ITaskLedger} from "./interfaces/ITaskLedger.sol";
import {Signatures} from "./libraries/Signatures.sol";
import {StructHash} from "./libraries/StructHash.sol";
import {Party, Proposal, Roles, Scopes} from "./types/Types.sol";

/// @title The life of every task, with a deadline and an exit for each state.
contract TaskLedger is ITaskLedger, EIP712 {
    using StructHash for Proposal;

    uint256 private constant MAX_PARTIES = 16;
    uint8 private constant MAX_ATTEMPTS = 16;
    uint256 private constant MAX_WAIT = 30 days;

    IParticipantRegistry public immutable participants;
    IDatasetRegistry public immutable datasets;
    IGrantLedger public immutable grants;
    IProofRegistry public immutable proofs;

    mapping(bytes32 task => Task) private _tasks;

    constructor(
        IParticipantRegistry participants_,
        IDatasetRegistry datasets_,
        IGrantLedger grants_,
        IProofRegistry proofs_
    ) EIP712("Tallystick TaskLedger", "1") {
        participants = participants_;
        datasets = datasets_;
        grants = grants_;
        proofs = proofs_;
    }

    /// @inheritdoc ITaskLedger
    function propose(Proposal calldata proposal) external returns (bytes32 task) {
        if (msg.sender != proposal.requester) revert NotTheRequester(msg.sender);
        participants.requireActive(msg.sender, Roles.REQUESTER);
        task = proposal.structHash();
        if (_tasks[task].state != State.None) revert TaskExists(task);
        if (
            proposal.acceptBy <= block.timestamp || proposal.acceptBy > block.timestamp + MAX_WAIT
                || proposal.runSeconds == 0 || proposal.runSeconds > MAX_WAIT
        ) revert BadDeadlines();
        if (proposal.attempts == 0 || proposal.attempts > MAX_ATTEMPTS) revert BadAttempts(proposal.attempts);
        if (address(proofs.verifierOf(proposal.proofKind)) == address(0)) revert UnknownProofKind(proposal.proofKind);
        _requireParties(proposal.parties);

        _tasks[task] = Task(State.Proposed, 1, 0, 0, 0);
        emit Proposed(task, msg.sender, proposal.spec, proposal);
    }

    /// @inheritdoc ITaskLedger
    function accept(
        Proposal calldata proposal,
        uint8 attempt,
        uint8[] calldata indices,
        bytes[] calldata signatures,
        bytes32[] calldata terms
    ) external {
        (bytes32 id, Task memory task) = _load(proposal);
        if (indices.length == 0 || indices.length != signatures.length || terms.length != proposal.parties.length) {
            revert LengthMismatch();
        }
        if (task.state == State.Failed && task.attempt < proposal.attempts) {
            task = Task(State.Proposed, task.attempt + 1, 0, 0, 0);
        }
        if (task.state != State.Proposed) revert WrongState(id, task.state);
        if (attempt != task.attempt) revert WrongAttempt(id, attempt);
        if (block.timestamp > proposal.acceptBy) revert TooLate(id, proposal.acceptBy);

        bytes32 digest = acceptanceDigest(id, proposal.spec, attempt);
        for (uint256 i; i < indices.length; ++i) {
            if (indices[i] >= proposal.parties.length) revert BadParties();
            _acceptOne(proposal.parties[indices[i]].account, indices[i], digest, signatures[i], task);
            emit Accepted(id, proposal.parties[indices[i]].account, attempt);
        }
        bool complete = task.accepted == _everyone(proposal.parties.length);
        if (complete) {
            task.state = State.Running;
            task.startedAt = uint40(block.timestamp);
            task.runBy = uint40(block.timestamp) + proposal.runSeconds;
        }
        _tasks[id] = task;

        if (complete) {
            emit Started(id, attempt, task.runBy);
            _debit(proposal, id, attempt, terms);
        }
    }

    /// @inheritdoc ITaskLedger
    function cancel(Proposal calldata proposal) external {
        (bytes32 id, Task memory task) = _load(proposal);
        if (msg.sender != proposal.requester) revert NotTheRequester(msg.sender);
        if (task.state != State.Proposed) revert WrongState(id, task.state);

        _tasks[id].state = State.Cancelled;
        emit Cancelled(id, msg.sender);
    }

    /// @inheritdoc ITaskLedger
    function fail(Proposal calldata proposal, uint8 attempt, address accused, uint16 reason, bytes32 evidence)
        external
    {
        (bytes32 id, Task memory task) = _load(proposal);
        uint256 place = Signatures.caller(participants, proposal.parties, Scopes.REPORT);
        if (place == proposal.parties.length) revert NotAParty(msg.sender);
        if (accused != address(0)) _requireParty(proposal.parties, accused);
        if (task.state != State.Running) revert WrongState(id, task.state);
        if (attempt != task.attempt) revert WrongAttempt(id, attempt);
        if (block.timestamp > task.runBy) revert TooLate(id, task.runBy);

        _tasks[id].state = State.Failed;
        emit Failed(id, proposal.parties[place].account, accused, attempt, reason, evidence);
    }

    /// @inheritdoc ITaskLedger
    function expire(Proposal calldata proposal) external {
        (bytes32 id, Task memory task) = _load(proposal);
        if (task.state != State.Proposed && task.state != State.Running) revert WrongState(id, task.state);
        bool running = task.state == State.Running;
        uint40 deadline = running ? task.runBy : proposal.acceptBy;
        if (block.timestamp <= deadline) revert TooEarly(id, deadline);

        _tasks[id].state = State.Expired;
        uint16 everyone = _everyone(proposal.parties.length);
        emit Expired(id, task.attempt, task.state, running ? everyone : everyone & ~task.accepted);
    }

    /// @inheritdoc ITaskLedger
    function prove(bytes32 id, uint8 attempt, bytes4 proofKind, bytes32 statement) external {
        if (msg.sender != address(proofs)) revert OnlyProofRegistry(msg.sender);
        Task memory task = _tasks[id];
        if (task.state != State.Running) revert WrongState(id, task.state);
        if (attempt != task.attempt) revert WrongAttempt(id, attempt);
        if (block.timestamp > task.runBy) revert TooLate(id, task.runBy);

        _tasks[id].state = State.Proved;
        emit ProvedBy(id, attempt, proofKind, statement);
    }

    /* VIEWS */

    /// @inheritdoc ITaskLedger
    function taskAt(bytes32 task) external view returns (Task memory) {
        return _tasks[task];
    }

    /// @inheritdoc ITaskLedger
    function taskId(Proposal calldata proposal) external pure returns (bytes32) {
        return proposal.structHash();
    }

    /// @inheritdoc ITaskLedger
    function acceptanceDigest(bytes32 task, bytes32 spec, uint8 attempt) public view returns (bytes32) {
        return _hashTypedDataV4(StructHash.acceptance(task, spec, attempt));
    }

    /* RULES */

    function _load(Proposal calldata proposal) private view returns (bytes32 id, Task memory task) {
        id = proposal.structHash();
        task = _tasks[id];
        if (task.state == State.None) revert UnknownTask(id);
    }

    function _requireParties(Party[] calldata parties) private view {
        uint256 count = parties.length;
        if (count == 0 || count > MAX_PARTIES) revert BadParties();
        address previous;
        for (uint256 i; i < count; ++i) {
            Party calldata party = parties[i];
            if (party.account <= previous) revert BadParties();
            previous = party.account;
            if (party.dataset == 0) {
                if (party.grant != 0 || party.epsilonMicros != 0 || party.uses != 0) revert BadParties();
                participants.requireActiveInAny(party.account, Roles.RESULT_RECEIVER | Roles.COMPUTE);
            } else {
                if (party.uses == 0 || datasets.requireUsable(party.dataset) != party.account) revert BadParties();
                participants.requireActive(party.account, Roles.DATA_PROVIDER);
            }
        }
    }

    function _requireParty(Party[] calldata parties, address account) private pure {
        for (uint256 i; i < parties.length; ++i) {
            if (parties[i].account == account) return;
        }
        revert NotAParty(account);
    }

    /// @dev Checks one acceptance and sets its bit in `task`, which is still in memory.
    function _acceptOne(address party, uint8 index, bytes32 digest, bytes calldata signature, Task memory task)
        private
        view
    {
        uint16 bit = uint16(1 << index);
        if (task.accepted & bit != 0) revert AlreadyAccepted(party);
        participants.requireActive(party, 0);
        if (!Signatures.signedFor(participants, party, Scopes.ACCEPT, digest, signature)) revert BadAcceptance(party);
        task.accepted |= bit;
    }

    function _everyone(uint256 count) private pure returns (uint16) {
        return uint16((1 << count) - 1);
    }

    function _debit(Proposal calldata proposal, bytes32 id, uint8 attempt, bytes32[] calldata terms) private {
        for (uint256 i; i < proposal.parties.length; ++i) {
            Party calldata party = proposal.parties[i];
            if (party.dataset == 0) continue;
            datasets.requireUsable(party.dataset);
            grants.debit(
                party.grant,
                party.dataset,
                terms[i],
                proposal.requester,
                id,
                attempt,
                party.uses,
                party.epsilonMicros
            );
        }
    }
}
