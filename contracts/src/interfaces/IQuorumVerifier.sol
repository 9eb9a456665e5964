// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.20;

import {IEnclaveVerifier} from "./IEnclaveVerifier.sol";

/// @title Results of enclaves whose evidence is too costly here: named participants appraised it, and enough of them say so.
/// @dev `docs/spec/attested-task.md` has the bytes. Who may vouch, and how many at least, is the governor's; whom of these a task
/// accepts, and how many it asks for, every party signs with the result.
interface IQuorumVerifier is IEnclaveVerifier {
    /// @notice What a verifier says after it appraised evidence in full, and signs for the `ProofRegistry` (its EIP-712 domain).
    /// @dev EIP-712: Vouching(bytes32 task,uint8 attempt,uint8 family,bytes32 identity,bytes32 platform,bytes32 reportData,bytes32 reportDataRest,bool debug,bytes32 evidence,bytes32 policy,uint40 notAfter)
    struct Vouching {
        bytes32 task;
        uint8 attempt;
        uint8 family; // 1 SGX, 2 TDX, 3 SEV-SNP, 4 Nitro, 5 CSV, 6 CCA, all of genuine hardware; nothing else counts
        bytes32 identity; // what ran
        bytes32 platform; // one value for one machine in this attempt, another in every other
        bytes32 reportData; // the digest of the task's run
        bytes32 reportDataRest; // SHA-256 of the enclave's public key
        bool debug; // whether it can be debugged; then it does not count
        bytes32 evidence; // digest of what the hardware signed
        bytes32 policy; // digest of the appraisal policy
        uint40 notAfter; // seconds since 1970: the appraisal holds until then
    }

    event VerifierNamed(address indexed account);
    event VerifierDropped(address indexed account, bytes32 reason);
    event ThresholdSet(uint8 threshold);

    error BadThreshold(uint8 threshold);

    /// @notice Lets a participant vouch for evidence. Governor only.
    function nameVerifier(address account) external;

    /// @notice Ends at once that a participant may vouch. Governor only.
    function dropVerifier(address account, bytes32 reason) external;

    /// @notice How many verifiers a task has to ask for at least, from 2 on: one alone could make hardware of anything. Governor
    /// only. Until it is set, nothing is proved here.
    function setThreshold(uint8 least) external;

    function threshold() external view returns (uint8);
    function isVerifier(address account) external view returns (bool);
}
