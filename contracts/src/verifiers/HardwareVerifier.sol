// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.20;

import {IParticipantRegistry} from "../interfaces/IParticipantRegistry.sol";
import {AttestationVerifier} from "./AttestationVerifier.sol";
import {SignedByAllVerifier} from "./SignedByAllVerifier.sol";

/// @title Computed in an enclave of genuine hardware: SGX, or a trust domain of TDX.
/// @dev The keys are those of the intermediates under Intel's SGX Root CA, valid until 2033. They are constants: nobody makes
/// another key count as hardware.
contract HardwareVerifier is AttestationVerifier {
    constructor(IParticipantRegistry participants_) AttestationVerifier(participants_) {}

    /// @inheritdoc AttestationVerifier
    function isIssuer(bytes32 x, bytes32 y) public pure override returns (bool) {
        // Intel SGX PCK Platform CA
        if (x == 0x35207feeddb595748ed82bb3a71c3be1e241ef61320c6816e6b5c2b71dad5532) {
            return y == 0xeaea12a4eb3f948916429ea47ba6c3af82a15e4b19664e52657939a2d96633de;
        }
        // Intel SGX PCK Processor CA
        return x == 0xbf6af8d329d883a0b5d9756e4fee599e7e4c6426f1a0a2f33efc7ecf9f282437
            && y == 0x77eb83cd79d54c04f66610c289fc88b89c2f377c0d069f621c1492309309ac13;
    }

    /// @inheritdoc SignedByAllVerifier
    function name() public pure override returns (string memory) {
        return "attested-hardware";
    }

    function _quotingSigner(bool sgx) internal pure override returns (bytes32) {
        return sgx
            ? bytes32(0x8c4f5775d796503e96137f77c68a829a0056ac8ded70140b081b094490c57bff)
            : bytes32(0xdc9e2a7c6f948f17474e34a7fc43ed030f7c1563f1babddf6340c82e0e54a8c5);
    }
}
