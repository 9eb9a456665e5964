// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.20;

import {ECDSA} from "@openzeppelin/contracts/utils/cryptography/ECDSA.sol";
import {SignatureChecker} from "@openzeppelin/contracts/utils/cryptography/SignatureChecker.sol";
import {IOperators} from "../interfaces/IOperators.sol";
import {Party} from "../types/Types.sol";

/// @title Whether an account signed a digest or calls, itself or by an operator: a key (ECDSA), a contract (EIP-1271), or a key that a
/// participant authorised.
/// @dev Recovers before it looks for code or operators: each of these costs as much as the recovery itself, and a participant's own
/// signature needs neither.
library Signatures {
    /// @notice Whether the account itself signed: for what no operator may do.
    function signed(address account, bytes32 digest, bytes calldata signature) internal view returns (bool) {
        return _recovered(digest, signature) == account && account != address(0)
            || SignatureChecker.isValidERC1271SignatureNow(account, digest, signature);
    }

    /// @notice Whether the account signed, or an operator that may do so for it now.
    function signedFor(
        IOperators operators,
        address account,
        uint16 scope,
        bytes32 digest,
        bytes calldata signature
    ) internal view returns (bool) {
        address recovered = _recovered(digest, signature);
        if (recovered == account && account != address(0)) return true;
        if (recovered != address(0) && operators.actsFor(recovered, account, scope)) return true;
        return SignatureChecker.isValidERC1271SignatureNow(account, digest, signature);
    }

    /// @notice Whether the account signed, or an operator that could do so for it at any time from `since` on: nobody escapes from what
    /// its operator signed by revoking it.
    function boundBy(
        IOperators operators,
        address account,
        uint40 since,
        bytes32 digest,
        bytes calldata signature
    ) internal view returns (bool) {
        address recovered = _recovered(digest, signature);
        if (recovered == account && account != address(0)) return true;
        if (recovered != address(0) && operators.couldSign(recovered, account, since)) return true;
        return SignatureChecker.isValidERC1271SignatureNow(account, digest, signature);
    }

    /// @notice The place of the party that calls: its own, or else that of the party for which the caller may act. The number of
    /// parties when there is none.
    function caller(IOperators operators, Party[] calldata parties, uint16 scope) internal view returns (uint256 place) {
        uint256 count = parties.length;
        for (place = 0; place < count; ++place) {
            if (parties[place].account == msg.sender) return place;
        }
        for (place = 0; place < count; ++place) {
            if (operators.actsFor(msg.sender, parties[place].account, scope)) return place;
        }
    }

    /// @dev Zero when it is no signature of a key.
    function _recovered(bytes32 digest, bytes calldata signature) private pure returns (address recovered) {
        ECDSA.RecoverError error;
        (recovered, error,) = ECDSA.tryRecover(digest, signature);
        if (error != ECDSA.RecoverError.NoError) return address(0);
    }
}
