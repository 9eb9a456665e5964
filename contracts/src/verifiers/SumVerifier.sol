// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.20;

import {Result} from "../types/Types.sol";
import {SignedByAllVerifier} from "./SignedByAllVerifier.sol";

/// @title The result commitment is the sum of the parties' input commitments.
/// @notice Pedersen vector commitments on BN254 are additively homomorphic: commit(v1, r1) + commit(v2, r2) =
/// commit(v1 + v2, r1 + r2). So the chain checks a sum of vectors of any length by adding one point for each party,
/// and sees neither an input nor a total.
/// @dev Proof bytes: abi.encode(uint256[2][] inputs, uint256[2] sum). A party without input contributes (0, 0), which is
/// the neutral element of the precompile's encoding.
contract SumVerifier is SignedByAllVerifier {
    address private constant EC_ADD = address(6); // EIP-196; also refuses coordinates out of range and points off the curve

    error PrecompileMissing(address precompile);

    constructor() {
        // G + infinity = G: a chain without the precompile answers with nothing at all.
        (bool ok, bytes memory out) = EC_ADD.staticcall(abi.encode(uint256(1), uint256(2), uint256(0), uint256(0)));
        if (!ok || out.length != 64) revert PrecompileMissing(EC_ADD);
    }

    /// @inheritdoc SignedByAllVerifier
    function verify(
        address[] calldata parties,
        Result calldata result,
        bytes32 digest,
        bytes[] calldata signatures,
        bytes calldata proof
    ) external view override returns (uint16) {
        _requireSignatures(parties, digest, signatures, 0);
        (uint256[2][] memory inputs, uint256[2] memory sum) = abi.decode(proof, (uint256[2][], uint256[2]));
        if (inputs.length != parties.length) revert BadProof("one input commitment for each party");
        if (keccak256(abi.encode(inputs)) != result.inputs) revert BadProof("input commitments are not those signed");
        if (keccak256(abi.encode(sum)) != result.output) revert BadProof("result commitment is not the one signed");

        uint256[2] memory total;
        for (uint256 i; i < inputs.length; ++i) {
            (bool ok, bytes memory out) =
                EC_ADD.staticcall(abi.encode(total[0], total[1], inputs[i][0], inputs[i][1]));
            if (!ok || out.length != 64) revert BadProof("an input commitment is not a point of the curve");
            total = abi.decode(out, (uint256[2]));
        }
        if (total[0] != sum[0] || total[1] != sum[1]) revert BadProof("the input commitments do not add up to the result");
        return 0;
    }

    /// @inheritdoc SignedByAllVerifier
    function name() public pure override returns (string memory) {
        return "sum-verified";
    }
}
