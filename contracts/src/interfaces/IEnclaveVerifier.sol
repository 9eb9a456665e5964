// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.20;

/// @title Which enclaves results may come from, as the governor lists them. `docs/spec/attested-task.md` says what an identity is.
interface IEnclaveVerifier {
    event EnclaveAllowed(bytes32 indexed identity);
    event EnclaveDisallowed(bytes32 indexed identity, bytes32 reason);

    error OnlyGovernor(address caller);
    error AlreadySo(bytes32 subject);

    /// @notice Lets results come from an enclave. Governor only; a task names those that its parties accept besides.
    function allow(bytes32 identity) external;

    /// @notice Ends the use of an enclave at once. Governor only.
    function disallow(bytes32 identity, bytes32 reason) external;

    function allowed(bytes32 identity) external view returns (bool);
}
