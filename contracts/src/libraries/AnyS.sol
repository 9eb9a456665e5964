// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.20;

import {P256} from "@openzeppelin/contracts/utils/cryptography/P256.sol";

/// @title P-256 signatures of hardware, whose `s` is of either half. Nothing may be counted by such a signature's bytes.
library AnyS {
    function verify(bytes32 hash, bytes32 r, bytes32 s, bytes32 x, bytes32 y) internal view returns (bool) {
        uint256 value = uint256(s);
        if (value > P256.N / 2 && value < P256.N) s = bytes32(P256.N - value);
        return P256.verify(hash, r, s, x, y);
    }
}
