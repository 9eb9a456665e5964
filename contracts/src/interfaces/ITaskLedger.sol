// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.20;

import {Proposal} from "../types/Types.sol";

/// @title The life of every task, with a deadline and an exit for each state.
///
///   None --propose--> Proposed --accept (last party; grants debited)--> Running --proved--> Proved
///                        |  \--cancel--> Cancelled                        |  \--fail--> Failed
///                        \--expire--> Expired                             \--expire--> Expired
///
/// @notice A failed attempt may be followed by another until `acceptBy`: parties accept attempt + 1. Proved, Cancelled,
/// Expired and (once attempts or time are used up) Failed are final.
interface ITaskLedger {
    enum State {
        None,
        Proposed,
        Running,
        Proved,
        Failed,
        Cancelled,
        Expired
    }

    struct Task {
        State state;
        uint8 attempt; // the attempt being accepted or run; 1 first
        uint16 accepted; // bit i: party i accepted this attempt
        uint40 startedAt; // seconds; of the current attempt, 0 before
        uint40 runBy; // startedAt + runSeconds
    }

    event Proposed(bytes32 indexed task, address indexed requester, bytes32 indexed spec, Proposal proposal);
    event Accepted(bytes32 indexed task, address indexed party, uint8 attempt);
    event Started(bytes32 indexed task, uint8 attempt, uint40 runBy);
    event ProvedBy(bytes32 indexed task, uint8 attempt, bytes4 proofKind, bytes32 statement);
    event Failed(
        bytes32 indexed task, address indexed reporter, address indexed accused, uint8 attempt, uint16 reason, bytes32 evidence
    );
    event Cancelled(bytes32 indexed task, address indexed requester);
    /// @param late bit i: party i had not accepted (when it expired as Proposed), or every bit of the parties (when it expired as Running)
    event Expired(bytes32 indexed task, uint8 attempt, State during, uint16 late);

    error UnknownTask(bytes32 task);
    error TaskExists(bytes32 task);
    error BadParties();
    error BadDeadlines();
    error BadAttempts(uint8 attempts);
    error UnknownProofKind(bytes4 proofKind);
    error NotTheRequester(address caller);
    error NotAParty(address account);
    error WrongState(bytes32 task, State state);
    error WrongAttempt(bytes32 task, uint8 attempt);
    error TooLate(bytes32 task, uint40 deadline);
    error TooEarly(bytes32 task, uint40 deadline);
    error BadAcceptance(address party);
    error AlreadyAccepted(address party);
    error LengthMismatch();
    error OnlyProofRegistry(address caller);

    /// @notice Proposes a task. The requester itself, active with role REQUESTER. Every party with a dataset must own it.
    function propose(Proposal calldata proposal) external returns (bytes32 task);

    /// @notice Records signed acceptances, each the EIP-712 signature of a party, or of its operator, over
    /// Acceptance(bytes32 task,bytes32 spec,uint8 attempt). Anyone may relay one or several. The one that completes the set
    /// debits every grant what the proposal says and starts the attempt: all of it or nothing.
    /// @param indices positions in proposal.parties, one for each signature
    /// @param terms for each party of the proposal, the terms root of its grant (zero for a party without one)
    function accept(
        Proposal calldata proposal,
        uint8 attempt,
        uint8[] calldata indices,
        bytes[] calldata signatures,
        bytes32[] calldata terms
    ) external;

    /// @notice Withdraws a proposal that has not started. Requester only.
    function cancel(Proposal calldata proposal) external;

    /// @notice Ends a running attempt with a reason code and a digest of the evidence. A party only, or its operator, until `runBy`: afterwards the
    /// run has ended in silence.
    /// @param accused the party that is said to be at fault, or zero
    function fail(Proposal calldata proposal, uint8 attempt, address accused, uint16 reason, bytes32 evidence) external;

    /// @notice Closes a task whose deadline has passed. Anyone.
    function expire(Proposal calldata proposal) external;

    /// @notice Marks a running attempt proved. Proof registry only.
    function prove(bytes32 task, uint8 attempt, bytes4 proofKind, bytes32 statement) external;

    function taskAt(bytes32 task) external view returns (Task memory);
    function taskId(Proposal calldata proposal) external view returns (bytes32);
    function acceptanceDigest(bytes32 task, bytes32 spec, uint8 attempt) external view returns (bytes32);
}
