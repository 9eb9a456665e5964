// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.20;

import {Result} from "../types/Types.sol";
import {ProjectionVerifier} from "./ProjectionVerifier.sol";

/// @title As projection-verified, for tasks that end without some of their parties: all that are present sign who was absent.
/// @notice For training over many rounds in which an owner drops out. What was committed to in each round, and what was
/// vouched for, every party holds of every other; so those who are present speak for who is absent with what it said
/// itself while it was there. Party i's vector y_i holds for each round the root that it signed and the four projections
/// of what it sent, and the aggregate's holds their sums: everybody computes all roots and projections.
///
/// What it shows: all parties but at most the tolerated number signed one statement, which names the absent; nobody both
/// signed and is named absent; at least three owners of data are present. The registry adds that neither the requester
/// nor a party without data is absent. What it does not show: that who is named absent was not there. All others say so.
/// @dev Proof bytes: abi.encode(uint256 absent, bytes32[] roots, bytes32 aggregateRoot, uint256[4][] projections,
/// uint256[4] aggregateProjection); bit i of `absent` stands for party i, whose signature is empty. Since `result.output`
/// binds the proof's hash, every signature is for this list of the absent.
abstract contract ProjectionQuorumVerifier is ProjectionVerifier {
    uint256 private constant FEWEST_OWNERS = 3; // of two owners each finds the other's change by subtraction

    /// @notice How many parties may be absent: 1 to 9.
    function tolerated() public pure virtual returns (uint256);

    /// @inheritdoc ProjectionVerifier
    function verify(
        address[] calldata parties,
        Result calldata result,
        bytes32 digest,
        bytes[] calldata signatures,
        bytes calldata proof
    ) external view override returns (uint16) {
        Projections memory said;
        uint256 absent;
        (absent, said.roots, said.aggregateRoot, said.projections, said.aggregate) =
            abi.decode(proof, (uint256, bytes32[], bytes32, uint256[4][], uint256[4]));
        if (absent >> parties.length != 0) revert BadProof("an absent party is none of the task's");
        _requireSignatures(parties, digest, signatures, absent);
        _requireSum(parties.length, result, keccak256(proof), said);
        _requireQuorum(absent, said.roots);
        return uint16(absent);
    }

    function _requireQuorum(uint256 absent, bytes32[] memory roots) private pure {
        uint256 missing;
        uint256 owners;
        for (uint256 i; i < roots.length; ++i) {
            if (absent >> i & 1 != 0) ++missing;
            else if (roots[i] != 0) ++owners;
        }
        if (missing > tolerated()) revert BadProof("more parties are absent than the task tolerates");
        if (owners < FEWEST_OWNERS) revert BadProof("fewer than three owners are present");
    }

    /// @inheritdoc ProjectionVerifier
    function name() public pure override returns (string memory) {
        return string.concat("projection-verified-absent-", string(abi.encodePacked(uint8(48 + tolerated()))));
    }
}

/// @title One party may be absent.
contract ProjectionAbsent1Verifier is ProjectionQuorumVerifier {
    /// @inheritdoc ProjectionQuorumVerifier
    function tolerated() public pure override returns (uint256) {
        return 1;
    }
}

/// @title Two parties may be absent.
contract ProjectionAbsent2Verifier is ProjectionQuorumVerifier {
    /// @inheritdoc ProjectionQuorumVerifier
    function tolerated() public pure override returns (uint256) {
        return 2;
    }
}

/// @title Three parties may be absent.
contract ProjectionAbsent3Verifier is ProjectionQuorumVerifier {
    /// @inheritdoc ProjectionQuorumVerifier
    function tolerated() public pure override returns (uint256) {
        return 3;
    }
}
