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
    /// @return absent bit i stands for party i, which took no part to the end and did not sign; 0 for kinds that everybody
    /// signs. That the task can do without these parties is the registry's to check.
    function verify(
        address[] calldata parties,
        Result calldata result,
        bytes32 digest,
        bytes[] calldata signatures,
        bytes calldata proof
    ) external view returns (uint16 absent);

    /// @notice Four bytes that name the kind: the first four of keccak256(name()).
    function kind() external view returns (bytes4);
    /// @notice `signed-by-all`, `sum-verified`, `sum-in-range`, `vector-sum-verified`, `projection-verified`,
    /// `projection-verified-absent-1` to `-3`, `groth16`, `attested-hardware`, `attested-hardware-quorum` or `attested-simulated`; what
    /// a query's answer shows as the proof's strength.
    function name() external view returns (string memory);
}
