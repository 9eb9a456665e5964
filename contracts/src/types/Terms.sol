// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.20;

import {Result} from "./Types.sol";

/// @notice Lower limits for a grant, signed by its owner.
/// @dev EIP-712: Narrowing(bytes32 grant,uint32 uses,uint64 epsilonMicros,uint40 notAfter)
struct Narrowing {
    bytes32 grant;
    uint32 uses; // in all, those that were used included
    uint64 epsilonMicros; // in all, what was spent included
    uint40 notAfter;
}

/// @notice What a task is paid for, what its parties stake, and who judges. Declared by the requester before anybody accepted.
/// Its id is its EIP-712 struct hash.
/// @dev EIP-712: Agreement(bytes32 task,address token,uint128 fee,uint128 bond,uint32 disputeSeconds,uint32 rulingSeconds,bool measured,bool upheldByDefault,uint16[] shares,address[] arbiters,uint128 price)
struct Agreement {
    bytes32 task;
    address token; // an ERC-20, or zero for the chain's own coin
    uint128 fee; // deposited for the whole task: what is divided, or with a price the most that is paid
    uint128 bond; // staked by each participant that wants a share of the fee, or wants to challenge; may be zero
    uint32 disputeSeconds; // after the end of the task, for evidence and challenges
    uint32 rulingSeconds; // after a challenge, for the arbiters
    bool measured; // shares may be replaced by contributions that every party signed
    bool upheldByDefault; // what a challenge comes to when the arbiters are silent
    uint16[] shares; // of each party, in basis points of the fee; 10,000 in all. None where there is a price
    address[] arbiters; // strictly ascending, at most 7; none: the governor judges
    uint128 price; // of each use that the ledger debited of a party's grant; zero: the fee is divided by shares
}

/// @notice A result with one party's signature of it.
struct SignedResult {
    Result result;
    bytes signature; // EIP-712, domain of the proof registry
}

/// @notice What one end of a link saw of one direction, up to `messages`.
/// @dev EIP-712: LinkDigest(bytes32 task,uint8 attempt,address from,address to,uint64 messages,uint64 size,bytes32 digest)
struct LinkDigest {
    bytes32 task;
    uint8 attempt;
    address from;
    address to;
    uint64 messages;
    uint64 size; // bytes
    bytes32 digest;
}

/// @notice A link's digest with the signature of one of its ends.
struct SignedLink {
    LinkDigest link;
    address signer;
    bytes signature; // EIP-712, domain of Disputes
}

/// @notice Which row's place an owner is to show.
struct Demand {
    bytes32 dataset;
    bytes32 rows; // the commitment, as the task's statement names it
    uint64 index; // below `size`
    uint64 size; // rows of the dataset
}

/// @notice A row's place in a dataset, as its owner states it: RFC 9162 over SHA-256.
/// @dev EIP-712: Opening(bytes32 task,bytes32 dataset,bytes32 rows,bytes32 leaf,uint64 index,uint64 size,bytes32[] path)
struct Opening {
    bytes32 task;
    bytes32 dataset;
    bytes32 rows; // the commitment that it claims to open
    bytes32 leaf; // the leaf's hash
    uint64 index;
    uint64 size; // rows of the dataset
    bytes32[] path;
}
