// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.20;

interface Vm {
    function assume(bool condition) external;
    function deal(address account, uint256 coins) external;
    function load(address target, bytes32 slot) external view returns (bytes32);
    function warp(uint256 time) external;
    function store(address target, bytes32 slot, bytes32 value) external;
}

/// @title What halmos proves, for every value of the arguments at once. Storage is set as the contract could have left it, and the proof
/// itself answers for the contracts around the one that it is about.
abstract contract Proof {
    Vm internal constant vm = Vm(0x7109709ECfa91a80626fF3989D68f67F5b1DD12D);
}
