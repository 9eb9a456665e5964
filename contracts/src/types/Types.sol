// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.20;

/// @notice The structs that more than one contract reads. The hash of each signed one is its EIP-712 struct hash.

/// @notice Bits of a participant's role mask.
library Roles {
    uint16 internal constant DATA_PROVIDER = 1 << 0;
    uint16 internal constant ALGORITHM_PROVIDER = 1 << 1;
    uint16 internal constant COMPUTE = 1 << 2;
    uint16 internal constant COORDINATOR = 1 << 3;
    uint16 internal constant RESULT_RECEIVER = 1 << 4;
    uint16 internal constant REQUESTER = 1 << 5;
    uint16 internal constant REGULATOR = 1 << 6;
    uint16 internal constant ALL = (1 << 7) - 1;
}

/// @notice Bits of what an operator may do for a participant.
library Scopes {
    uint16 internal constant ACCEPT = 1 << 0; // acceptances of tasks
    uint16 internal constant SIGN = 1 << 1; // results, digests of links, openings, contributions
    uint16 internal constant REPORT = 1 << 2; // failures, reports, heads of the audit log
    uint16 internal constant STAKE = 1 << 3; // undertaking an agreement, with the operator's own coins
    uint16 internal constant ALL = (1 << 4) - 1;
}

/// @notice What a consortium authority certifies about one account.
/// @dev EIP-712: Enrolment(address account,bytes32 fingerprint,bytes32 subjectX,bytes32 subjectY,uint16 roles,uint40 notBefore,uint40 notAfter)
struct Enrolment {
    address account;
    bytes32 fingerprint; // SHA-256 of the X.509 certificate in DER
    bytes32 subjectX; // the certificate's P-256 public key
    bytes32 subjectY;
    uint16 roles;
    uint40 notBefore; // seconds since 1970, inclusive
    uint40 notAfter; // seconds since 1970, inclusive
}

/// @notice A P-256 signature; `s` in the lower half of the group order.
struct P256Signature {
    bytes32 r;
    bytes32 s;
}

/// @notice An authorisation to use one dataset, signed by the dataset's owner. Its id is its EIP-712 struct hash.
/// @dev EIP-712: Grant(bytes32 dataset,address grantee,bytes32 terms,uint32 uses,uint64 epsilonMicros,uint40 notBefore,uint40 notAfter,bytes32 salt)
struct Grant {
    bytes32 dataset;
    address grantee;
    bytes32 terms; // Merkle root over the salted fields purpose, algorithms, columns, receivers
    uint32 uses; // what task attempts may debit in all
    uint64 epsilonMicros; // privacy budget in millionths of epsilon; 0 when no debit may spend any
    uint40 notBefore;
    uint40 notAfter;
    bytes32 salt;
}

/// @notice One party's part in a task, and what an attempt debits its grant. A party without data, which receives or computes, has
/// zero in every other member.
/// @dev EIP-712: Party(address account,bytes32 dataset,bytes32 grant,uint64 epsilonMicros,uint32 uses)
struct Party {
    address account;
    bytes32 dataset;
    bytes32 grant;
    uint64 epsilonMicros;
    uint32 uses; // at least one
}

/// @notice A task as proposed. Its id is its EIP-712 struct hash, so later calls hand the proposal in again and storage keeps one slot.
/// @dev EIP-712: Proposal(address requester,bytes32 spec,Party[] parties,bytes4 proofKind,uint40 acceptBy,uint32 runSeconds,uint8 attempts,bytes32 salt)Party(address account,bytes32 dataset,bytes32 grant,uint64 epsilonMicros,uint32 uses)
struct Proposal {
    address requester;
    bytes32 spec; // digest of the canonical TaskSpec
    Party[] parties; // 1 to 16, accounts strictly ascending
    bytes4 proofKind; // which IProofVerifier must accept the result
    uint40 acceptBy; // every party must have accepted by then
    uint32 runSeconds; // an attempt that runs longer may be expired by anyone
    uint8 attempts; // 1 to 16
    bytes32 salt;
}

/// @notice What every party signs about a result.
/// @dev EIP-712: Result(bytes32 task,uint8 attempt,bytes32 statement,bytes32 inputs,bytes32 output,bytes4 proofKind)
struct Result {
    bytes32 task;
    uint8 attempt;
    bytes32 statement; // SHA-256 of the DSSE pre-authentication encoding of the in-toto statement
    bytes32 inputs; // binds the parties' input commitments, as the proof kind defines
    bytes32 output; // binds the result commitment, as the proof kind defines
    bytes4 proofKind;
}
