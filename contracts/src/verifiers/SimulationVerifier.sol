// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.20;

import {IParticipantRegistry} from "../interfaces/IParticipantRegistry.sol";
import {AttestationVerifier} from "./AttestationVerifier.sol";
import {SignedByAllVerifier} from "./SignedByAllVerifier.sol";

/// @title Computed in a simulated enclave: the operator of its machine could have seen and changed everything.
/// @notice Counts the simulation authorities that the governor named; at first none.
contract SimulationVerifier is AttestationVerifier {
    mapping(bytes32 authority => bool) private _authorities;

    event SimulationAuthorityNamed(bytes32 x, bytes32 y);
    event SimulationAuthorityDropped(bytes32 x, bytes32 y);

    constructor(IParticipantRegistry participants_) AttestationVerifier(participants_) {}

    /// @notice Lets a simulation authority's PCK key certify platforms. Governor only.
    function nameAuthority(bytes32 x, bytes32 y) external {
        _onlyGovernor();
        if (isIssuer(x, y)) revert AlreadySo(keccak256(abi.encode(x, y)));

        _authorities[keccak256(abi.encode(x, y))] = true;
        emit SimulationAuthorityNamed(x, y);
    }

    /// @notice Takes no more platforms of a simulation authority; those that it certified stay. Governor only.
    function dropAuthority(bytes32 x, bytes32 y) external {
        _onlyGovernor();
        if (!isIssuer(x, y)) revert UnknownIssuer(x, y);

        _authorities[keccak256(abi.encode(x, y))] = false;
        emit SimulationAuthorityDropped(x, y);
    }

    /// @inheritdoc AttestationVerifier
    function isIssuer(bytes32 x, bytes32 y) public view override returns (bool) {
        return _authorities[keccak256(abi.encode(x, y))];
    }

    /// @inheritdoc SignedByAllVerifier
    function name() public pure override returns (string memory) {
        return "attested-simulated";
    }

    function _quotingSigner(bool) internal pure override returns (bytes32) {
        return sha256("SIMULATION ONLY quoting enclave");
    }
}
