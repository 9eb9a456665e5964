// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.20;

import {ECDSA} from "@openzeppelin/contracts/utils/cryptography/ECDSA.sol";

/// @title A contract account for tests: its owner's key signs for it (EIP-1271), and it can be told to answer wrongly.
/// @dev Never deployed outside tests: anyone may tell it how to answer.
contract Wallet {
    enum Answer {
        Right,
        Refuses, // the signature is the owner's, and the wallet says no all the same
        Reverts,
        Nothing, // returns no data at all
        Short, // the right four bytes, and not the 28 that follow them
        RightAligned, // the magic value where a number would stand
        True, // what a function returning bool answers
        Dirty, // the magic value with garbage behind it in the same word
        Burns // uses all the gas it is given
    }

    bytes4 private constant MAGIC = 0x1626ba7e;
    address public immutable owner;
    Answer public answer;

    constructor(address owner_) {
        owner = owner_;
    }

    function setAnswer(Answer answer_) external {
        answer = answer_;
    }

    /// @notice Calls as this wallet; a revert passes through with its data.
    function execute(address to, bytes calldata data) external {
        require(msg.sender == owner, "not the owner");
        (bool ok, bytes memory out) = to.call(data);
        if (!ok) {
            assembly {
                revert(add(out, 32), mload(out))
            }
        }
    }

    function isValidSignature(bytes32 digest, bytes calldata signature) external view returns (bytes4) {
        if (answer == Answer.Reverts) revert("no");
        if (answer == Answer.Refuses) return 0xffffffff;
        if (answer == Answer.Nothing) _return(0, 0);
        if (answer == Answer.Short) _return(bytes32(MAGIC), 4);
        if (answer == Answer.RightAligned) _return(bytes32(uint256(uint32(MAGIC))), 32);
        if (answer == Answer.True) _return(bytes32(uint256(1)), 32);
        if (answer == Answer.Dirty) _return(bytes32(MAGIC) | bytes32(uint256(1)), 32);
        if (answer == Answer.Burns) while (true) {}
        (address recovered, ECDSA.RecoverError failed,) = ECDSA.tryRecover(digest, signature);
        return failed == ECDSA.RecoverError.NoError && recovered == owner ? MAGIC : bytes4(0xffffffff);
    }

    function _return(bytes32 word, uint256 length) private pure {
        assembly {
            mstore(0, word)
            return(0, length)
        }
    }
}
