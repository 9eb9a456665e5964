// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.20;

/// @title Heads of the append-only logs that nodes keep (accesses, refusals, transcripts).
/// @notice RFC 9162 Merkle trees over SHA-256. Inclusion and consistency are proved off chain against these heads.
interface IAuditLog {
    struct Head {
        bytes32 root;
        uint64 size;
        uint40 anchoredAt;
    }

    event Anchored(address indexed account, uint64 indexed size, bytes32 root);

    error NotGrowing(uint64 anchored, uint64 given);
    error EmptyRoot();
    error NotAnOperatorOf(address account, address caller);

    /// @notice Anchors the head of the caller's log. The caller is active in some role; the size only grows.
    function anchor(bytes32 root, uint64 size) external;

    /// @notice Anchors the head of a participant's log. Its operator, with scope REPORT; as {anchor} else.
    function anchorFor(address account, bytes32 root, uint64 size) external;

    function headOf(address account) external view returns (Head memory);
}
