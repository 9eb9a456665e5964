// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.20;

/// @title Inclusion in a Merkle tree of RFC 9162 over SHA-256.
library Rfc9162 {
    /// @notice Whether `leaf`, a leaf's hash, stands at `index` of a tree with `size` leaves and this root (section 2.1.3.2).
    function included(bytes32 root, bytes32 leaf, uint64 index, uint64 size, bytes32[] calldata path)
        internal
        pure
        returns (bool)
    {
        if (index >= size) return false;
        uint256 place = index;
        uint256 last = size - 1;
        bytes32 hash = leaf;
        for (uint256 i; i < path.length; ++i) {
            if (last == 0) return false;
            if (place & 1 == 1 || place == last) {
                hash = sha256(abi.encodePacked(bytes1(0x01), path[i], hash));
                while (place & 1 == 0 && place != 0) {
                    place >>= 1;
                    last >>= 1;
                }
            } else {
                hash = sha256(abi.encodePacked(bytes1(0x01), hash, path[i]));
            }
            place >>= 1;
            last >>= 1;
        }
        return last == 0 && hash == root;
    }
}
