// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.20;

import {IOperators} from "../interfaces/IOperators.sol";
import {IProofRegistry} from "../interfaces/IProofRegistry.sol";
import {IProofVerifier} from "../interfaces/IProofVerifier.sol";
import {Signatures} from "../libraries/Signatures.sol";
import {Result, Scopes} from "../types/Types.sol";

/// @title Every party signed the result: the floor on which other kinds build.
contract SignedByAllVerifier is IProofVerifier {
    /// @inheritdoc IProofVerifier
    function verify(
        address[] calldata parties,
        Result calldata,
        bytes32 digest,
        bytes[] calldata signatures,
        bytes calldata proof
    ) external view virtual returns (uint16) {
        if (proof.length != 0) revert BadProof("this kind takes no proof bytes");
        _requireSignatures(parties, digest, signatures, 0);
        return 0;
    }

    /// @inheritdoc IProofVerifier
    function kind() external view returns (bytes4) {
        return bytes4(keccak256(bytes(name())));
    }

    /// @inheritdoc IProofVerifier
    function name() public view virtual returns (string memory) {
        return "signed-by-all";
    }

    /// @dev The caller is the registry, whose participants name their operators. It is asked only where a party did not sign itself.
    /// @param absent the parties that are not to sign: their places are empty
    function _requireSignatures(
        address[] calldata parties,
        bytes32 digest,
        bytes[] calldata signatures,
        uint256 absent
    ) internal view {
        for (uint256 i; i < parties.length; ++i) {
            if (i >= signatures.length) revert SignatureMissing(parties[i]);
            if (absent >> i & 1 != 0) {
                if (signatures[i].length != 0) revert BadProof("a party that is named absent has signed");
                continue;
            }
            if (Signatures.signed(parties[i], digest, signatures[i])) continue;
            IOperators operators = IProofRegistry(msg.sender).participants();
            if (!Signatures.signedFor(operators, parties[i], Scopes.SIGN, digest, signatures[i])) {
                revert BadSignature(parties[i]);
            }
        }
        if (signatures.length != parties.length) revert BadProof("more signatures than parties");
    }
}
