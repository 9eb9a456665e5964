// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.20;

import {Agreement, LinkDigest, Narrowing, Opening} from "../types/Terms.sol";

/// @title EIP-712 struct hashes of what is agreed about a task and said about its run.
/// @dev abi.encodePacked pads the elements of an array to words, which is how EIP-712 encodes it.
library TermsHash {
    bytes32 internal constant AGREEMENT = keccak256(
        "Agreement(bytes32 task,address token,uint128 fee,uint128 bond,uint32 disputeSeconds,uint32 rulingSeconds,bool measured,bool upheldByDefault,uint16[] shares,address[] arbiters,uint128 price)"
    );
    bytes32 internal constant CONTRIBUTION =
        keccak256("Contribution(bytes32 task,uint8 attempt,bytes32 result,uint16[] shares)");
    bytes32 internal constant LINK_DIGEST = keccak256(
        "LinkDigest(bytes32 task,uint8 attempt,address from,address to,uint64 messages,uint64 size,bytes32 digest)"
    );
    bytes32 internal constant OPENING = keccak256(
        "Opening(bytes32 task,bytes32 dataset,bytes32 rows,bytes32 leaf,uint64 index,uint64 size,bytes32[] path)"
    );

    bytes32 internal constant NARROWING =
        keccak256("Narrowing(bytes32 grant,uint32 uses,uint64 epsilonMicros,uint40 notAfter)");
    bytes32 internal constant REVOCATION = keccak256("Revocation(bytes32 grant)");
    bytes32 internal constant AUTHORISATION =
        keccak256("Authorisation(address account,address operator,uint16 scopes,uint40 notAfter,uint32 nonce)");

    function authorisation(address account, address operator, uint16 scopes, uint40 notAfter, uint32 nonce)
        internal
        pure
        returns (bytes32)
    {
        return keccak256(abi.encode(AUTHORISATION, account, operator, scopes, notAfter, nonce));
    }

    function structHash(Narrowing calldata n) internal pure returns (bytes32) {
        return keccak256(bytes.concat(NARROWING, abi.encode(n)));
    }

    function revocation(bytes32 grant) internal pure returns (bytes32) {
        return keccak256(abi.encode(REVOCATION, grant));
    }

    function structHash(Agreement calldata a) internal pure returns (bytes32) {
        bytes32 shares = keccak256(abi.encodePacked(a.shares));
        bytes32 arbiters = keccak256(abi.encodePacked(a.arbiters));
        return keccak256(
            abi.encode(
                AGREEMENT, a.task, a.token, a.fee, a.bond, a.disputeSeconds, a.rulingSeconds, a.measured,
                a.upheldByDefault, shares, arbiters, a.price
            )
        );
    }

    function contribution(bytes32 task, uint8 attempt, bytes32 result, uint16[] calldata shares)
        internal
        pure
        returns (bytes32)
    {
        return keccak256(abi.encode(CONTRIBUTION, task, attempt, result, keccak256(abi.encodePacked(shares))));
    }

    function structHash(LinkDigest calldata l) internal pure returns (bytes32) {
        return keccak256(bytes.concat(LINK_DIGEST, abi.encode(l)));
    }

    function structHash(Opening calldata o) internal pure returns (bytes32) {
        bytes32 path = keccak256(abi.encodePacked(o.path));
        return keccak256(abi.encode(OPENING, o.task, o.dataset, o.rows, o.leaf, o.index, o.size, path));
    }
}
