// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.20;

/// @title Verifying keys of circuits, and results that proofs of these circuits stand behind.
/// @dev `docs/spec/groth16.md` has the bytes, and what a trusted set-up leaves to trust.
interface IGroth16Verifier {
    /// @param registrant whoever answers for the set-up; the key's id names it
    /// @param circuit digest of the circuit's description
    event KeyRegistered(bytes32 indexed key, address indexed registrant, bytes32 indexed circuit, bytes points);

    error BadKey(string rule);
    error KeyExists(bytes32 key);
    error PrecompileMissing(address precompile);
    error PrecompileTooLenient(address precompile);

    /// @notice Registers a circuit's verifying key for good: it is never changed and never removed. An active participant, which
    /// the key's id names.
    /// @param points alpha in G1; beta, gamma and delta in G2; then a point of G1 for one and for each public input, as the
    /// precompiles of BN254 take them
    /// @return key its id: keccak256 over the registrant's address in 32 bytes, `circuit` and `points`
    function register(bytes32 circuit, bytes calldata points) external returns (bytes32 key);

    /// @notice When a key was registered, in seconds since 1970; zero for none that is.
    function registeredAt(bytes32 key) external view returns (uint40);
}
