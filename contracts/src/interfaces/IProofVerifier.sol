// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.20;

import {Result} from "../types/Types.sol";

/// @title One way to check a result on chain.
interface IProofVerifier {
    error SignatureMissing(address party);
    error BadSignature(address party);
    error BadProof(string rule);

    /// @notice Reverts unless `result` holds for these parties.
    /// @param digest the EIP-712 digest of `result` that every party signed
    function verify(
        address[] calldata parties,
        Result calldata result,
        bytes32 digest,
        bytes[] calldata signatures,
        bytes calldata proof
    ) external view;

    /// @notice Four bytes that name the kind: the first four of keccak256(name()).
    function kind() external view returns (bytes4);
    /// @notice `signed-by-all`, `sum-verified`, `projection-verified`, `attested-hardware` or `attested-simulated`; what a
    /// query's answer shows as the proof's strength.
    function name() external view returns (string memory);
}
