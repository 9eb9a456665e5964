// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.20;

import {EIP712} from "@openzeppelin/contracts/utils/cryptography/EIP712.sol";
import {IParticipantRegistry} from "./interfaces/IParticipantRegistry.sol";
import {IProofRegistry} from "./interfaces/IProofRegistry.sol";
import {IProofVerifier} from "./interfaces/IProofVerifier.sol";
import {ITaskLedger} from "./interfaces/ITaskLedger.sol";
import {StructHash} from "./libraries/StructHash.sol";
import {Party, Proposal, Result} from "./types/Types.sol";

/// @title Results, each with the proof kind that stands behind it and the verdict of its verifier.
contract ProofRegistry is IProofRegistry, EIP712 {
    using StructHash for Proposal;
    using StructHash for Result;

    IParticipantRegistry public immutable participants;
    ITaskLedger public immutable tasks;

    mapping(bytes4 kind => IProofVerifier) private _verifiers;
    mapping(bytes32 task => Proof) private _proofs;

    constructor(IParticipantRegistry participants_, ITaskLedger tasks_) EIP712("Tallystick ProofRegistry", "1") {
        participants = participants_;
        tasks = tasks_;
    }

    /// @inheritdoc IProofRegistry
    function addVerifier(IProofVerifier verifier) external {
        if (msg.sender != participants.governor()) revert OnlyGovernor(msg.sender);
        bytes4 kind = verifier.kind();
        if (address(_verifiers[kind]) != address(0)) revert VerifierExists(kind);

        _verifiers[kind] = verifier;
        emit VerifierAdded(kind, address(verifier), verifier.name());
    }

    /// @inheritdoc IProofRegistry
    function submit(
        Proposal calldata proposal,
        Result calldata result,
        bytes[] calldata signatures,
        bytes calldata proof
    ) external {
        if (result.task != proposal.structHash()) revert WrongTask(result.task);
        if (result.proofKind != proposal.proofKind) revert WrongKind(proposal.proofKind, result.proofKind);
        IProofVerifier verifier = _verifiers[result.proofKind];
        if (address(verifier) == address(0)) revert UnknownKind(result.proofKind);
        address[] memory parties = new address[](proposal.parties.length);
        for (uint256 i; i < parties.length; ++i) {
            parties[i] = proposal.parties[i].account;
            participants.requireActive(parties[i], 0);
        }
        bytes32 id = result.structHash();
        uint16 absent = verifier.verify(parties, result, _hashTypedDataV4(id), signatures, proof);

        _proofs[result.task] = Proof(result.proofKind, result.attempt, uint40(block.timestamp), absent, id);
        if (absent != 0) emit PartiesAbsent(result.task, result.attempt, _absent(proposal, absent));
        emit ResultProved(
            result.task,
            result.statement,
            result.proofKind,
            result.attempt,
            result.inputs,
            result.output,
            msg.sender
        );
        tasks.prove(result.task, result.attempt, result.proofKind, result.statement);
    }

    /// @inheritdoc IProofRegistry
    function proofOf(bytes32 task) external view returns (Proof memory) {
        return _proofs[task];
    }

    /// @inheritdoc IProofRegistry
    function verifierOf(bytes4 kind) external view returns (IProofVerifier) {
        return _verifiers[kind];
    }

    /// @inheritdoc IProofRegistry
    function resultDigest(Result calldata result) external view returns (bytes32) {
        return _hashTypedDataV4(result.structHash());
    }

    /// @dev Their accounts. Reverts when the task cannot do without one of them.
    function _absent(Proposal calldata proposal, uint16 absent) private pure returns (address[] memory accounts) {
        uint256 count;
        accounts = new address[](proposal.parties.length);
        for (uint256 i; i < proposal.parties.length; ++i) {
            if (absent >> i & 1 == 0) continue;
            Party calldata party = proposal.parties[i];
            if (party.dataset == 0 || party.account == proposal.requester) revert MustBePresent(party.account);
            accounts[count++] = party.account;
        }
        assembly ("memory-safe") {
            mstore(accounts, count)
        }
    }
}
