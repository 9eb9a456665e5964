// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.20;

import {Narrowing} from "../types/Terms.sol";
import {Grant} from "../types/Types.sol";

/// @title Authorisations to use data, and what has been used of them.
/// @notice A debit is made by the task ledger alone, in the transaction that starts the attempt.
interface IGrantLedger {
    struct Account {
        address grantee;
        uint32 uses;
        uint32 used;
        bool revoked;
        bytes32 binding; // keccak256(abi.encode(dataset, terms))
        uint40 notBefore;
        uint40 notAfter;
        uint64 epsilonMicros;
        uint64 spentMicros;
    }

    event Granted(
        bytes32 indexed grant,
        bytes32 indexed dataset,
        address indexed grantee,
        bytes32 terms,
        uint32 uses,
        uint64 epsilonMicros,
        uint40 notBefore,
        uint40 notAfter
    );
    event GrantRevoked(bytes32 indexed grant, address indexed owner);
    event GrantNarrowed(
        bytes32 indexed grant, address indexed owner, uint32 uses, uint64 epsilonMicros, uint40 notAfter
    );
    event Debited(bytes32 indexed grant, bytes32 indexed task, uint8 attempt, uint32 used, uint64 spentMicros);

    error BadOwnerSignature(bytes32 dataset, address owner);
    error GrantExists(bytes32 grant);
    error UnknownGrant(bytes32 grant);
    error GrantIsRevoked(bytes32 grant);
    error GrantOutsideValidity(bytes32 grant, uint40 notBefore, uint40 notAfter);
    error GrantUsedUp(bytes32 grant, uint32 uses);
    error BudgetExceeded(bytes32 grant, uint64 epsilonMicros, uint64 spentMicros);
    error NotTheGrantee(bytes32 grant, address requester);
    error WrongDataset(bytes32 grant, bytes32 dataset);
    error BadGrantValidity(uint40 notBefore, uint40 notAfter);
    error NoUses();
    error NotNarrower(bytes32 grant);
    error OnlyTaskLedger(address caller);
    error NotTheDatasetOwner(bytes32 dataset, address caller);

    /// @notice Records a grant signed (EIP-712; EOA or EIP-1271) by the active owner of its dataset. Anyone may relay it.
    function issue(Grant calldata grant, bytes calldata signature) external returns (bytes32 id);

    /// @notice Ends a grant at once. The dataset's owner only; allowed also when suspended. One that was signed and not relayed yet
    /// can never be issued afterwards: a signature that went out is taken back.
    function revoke(Grant calldata grant) external;

    /// @notice The same, signed by the owner (EIP-712; EOA or EIP-1271): Revocation(bytes32 grant). Anyone may relay it.
    function revokeSigned(Grant calldata grant, bytes calldata signature) external;

    /// @notice Lowers what a grant still allows: uses, privacy budget, end of validity. None of them can be raised; what was used
    /// stays used. The owner itself, or anyone with its signature (EIP-712; EOA or EIP-1271) of the narrowing. A narrowing that is
    /// relayed twice changes nothing the second time, so it needs no nonce.
    function narrow(Grant calldata grant, Narrowing calldata narrowing, bytes calldata signature) external;

    /// @notice Takes `uses` of a grant and `epsilonMicros` of its budget, for `requester`, on `dataset`. Task ledger only; reverts by
    /// the first rule that fails.
    /// @param terms the grant's terms root, opened against the stored binding
    function debit(
        bytes32 grant,
        bytes32 dataset,
        bytes32 terms,
        address requester,
        bytes32 task,
        uint8 attempt,
        uint32 uses,
        uint64 epsilonMicros
    ) external;

    function accountOf(bytes32 grant) external view returns (Account memory);
    function grantId(Grant calldata grant) external view returns (bytes32);
    function grantDigest(Grant calldata grant) external view returns (bytes32);
    function revocationDigest(bytes32 grant) external view returns (bytes32);
    function narrowingDigest(Narrowing calldata narrowing) external view returns (bytes32);
}
