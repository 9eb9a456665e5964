// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.20;

import {IEnclaveVerifier} from "../interfaces/IEnclaveVerifier.sol";
import {IParticipantRegistry} from "../interfaces/IParticipantRegistry.sol";
import {SignedByAllVerifier} from "./SignedByAllVerifier.sol";

/// @title What all kinds of proof by an enclave have in common: the governor's list of enclaves, and what report data are about.
abstract contract EnclaveVerifier is SignedByAllVerifier, IEnclaveVerifier {
    IParticipantRegistry public immutable participants;

    mapping(bytes32 identity => bool) private _allowed;

    bytes private constant RESULT = "tallystick/tee/result/v1";
    bytes private constant TASK = "tallystick/tee/task/v1";

    constructor(IParticipantRegistry participants_) {
        participants = participants_;
    }

    /// @inheritdoc IEnclaveVerifier
    function allow(bytes32 identity) external {
        _onlyGovernor();
        if (_allowed[identity]) revert AlreadySo(identity);

        _allowed[identity] = true;
        emit EnclaveAllowed(identity);
    }

    /// @inheritdoc IEnclaveVerifier
    function disallow(bytes32 identity, bytes32 reason) external {
        _onlyGovernor();
        if (!_allowed[identity]) revert AlreadySo(identity);

        _allowed[identity] = false;
        emit EnclaveDisallowed(identity, reason);
    }

    /// @inheritdoc IEnclaveVerifier
    function allowed(bytes32 identity) external view returns (bool) {
        return _allowed[identity];
    }

    function _onlyGovernor() internal view {
        if (msg.sender != participants.governor()) revert OnlyGovernor(msg.sender);
    }

    function _requireAllowed(bytes32 identity) internal view {
        if (!_allowed[identity]) revert BadProof("the enclave is not allowed");
    }

    /// @dev The first half of report data about this attempt, algorithm, these inputs and this output. The caller of {verify} is
    /// the registry that they are bound to.
    function _taskDigest(
        bytes32 task,
        uint8 attempt,
        bytes32 algorithm,
        bytes calldata commitments,
        bytes32 output
    ) internal view returns (bytes32) {
        uint32 count;
        bytes memory listed;
        for (uint256 at; at < commitments.length; at += 32) {
            bytes32 commitment = bytes32(commitments[at:at + 32]);
            if (commitment == 0) continue;
            ++count;
            listed = bytes.concat(listed, sha256(abi.encode(commitment)));
        }
        bytes32 result =
            sha256(bytes.concat(RESULT, bytes4(count), listed, bytes4(uint32(1)), sha256(abi.encode(output))));
        bytes32 context = keccak256(abi.encode(block.chainid, msg.sender, task, attempt));
        return sha256(bytes.concat(TASK, context, algorithm, result));
    }
}
