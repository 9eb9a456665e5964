// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.20;

import {Proposal, Result} from "../types/Types.sol";
import {IParticipantRegistry} from "./IParticipantRegistry.sol";
import {IProofVerifier} from "./IProofVerifier.sol";

/// @title Results, each with the proof kind that stands behind it and the verdict of its verifier.
interface IProofRegistry {
    struct Proof {
        bytes4 kind;
        uint8 attempt;
        uint40 provedAt;
        uint16 absent; // bit i: party i of the proposal was absent, as all others signed
        bytes32 digest; // the Result's EIP-712 struct hash
    }

    event VerifierAdded(bytes4 indexed kind, address verifier, string name);
    event ResultProved(
        bytes32 indexed task,
        bytes32 indexed statement,
        bytes4 indexed kind,
        uint8 attempt,
        bytes32 inputs,
        bytes32 output,
        address submitter
    );

    event PartiesAbsent(bytes32 indexed task, uint8 attempt, address[] parties);

    error OnlyGovernor(address caller);
    error VerifierExists(bytes4 kind);
    error UnknownKind(bytes4 kind);
    error WrongKind(bytes4 required, bytes4 given);
    error WrongTask(bytes32 task);
    error MustBePresent(address party);

    /// @notice Adds a verifier under its own kind. Governor only; a kind is never replaced.
    function addVerifier(IProofVerifier verifier) external;

    /// @notice Verifies a result and closes its task. A party of the task, or any relayer: the signatures decide.
    /// Of the kinds that tolerate absent parties, only owners of data who did not propose the task may be absent.
    /// @param signatures one EIP-712 signature of `result` for each party, in the order of the proposal; empty for one that is
    /// absent
    /// @param proof what the verifier of `result.proofKind` asks for
    function submit(Proposal calldata proposal, Result calldata result, bytes[] calldata signatures, bytes calldata proof)
        external;

    function participants() external view returns (IParticipantRegistry);
    function proofOf(bytes32 task) external view returns (Proof memory);
    function verifierOf(bytes4 kind) external view returns (IProofVerifier);
    function resultDigest(Result calldata result) external view returns (bytes32);
}
