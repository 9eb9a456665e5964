// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.20;

import {ERC20} from "@openzeppelin/contracts/token/ERC20/ERC20.sol";

/// @title A token for tests: honest, or told to misbehave.
/// @dev Never deployed outside tests: anyone may mint, and tell it how to behave.
contract Coin is ERC20 {
    enum Manner {
        Honest,
        TakesFee, // the receiver gets one unit less
        ReturnsFalse, // moves nothing and says so
        CallsBack // hands control to the sender's chosen call before it moves anything
    }

    Manner public manner;
    address public target;
    bytes public call_;

    constructor() ERC20("Test coin", "TEST") {}

    function mint(address to, uint256 amount) external {
        _mint(to, amount);
    }

    function behave(Manner manner_, address target_, bytes calldata data) external {
        manner = manner_;
        target = target_;
        call_ = data;
    }

    function transferFrom(address from, address to, uint256 amount) public override returns (bool) {
        if (manner == Manner.ReturnsFalse) return false;
        if (manner == Manner.CallsBack) _callBack();
        bool done = super.transferFrom(from, to, amount);
        if (manner == Manner.TakesFee) _burn(to, 1);
        return done;
    }

    function transfer(address to, uint256 amount) public override returns (bool) {
        if (manner == Manner.ReturnsFalse) return false;
        if (manner == Manner.CallsBack) _callBack();
        return super.transfer(to, amount);
    }

    function _callBack() private {
        (bool ok, bytes memory out) = target.call(call_);
        if (!ok) {
            assembly {
                revert(add(out, 32), mload(out))
            }
        }
    }
}
