// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.20;

import {EIP712} from "@openzeppelin/contracts/utils/cryptography/EIP712.sol";
import {IOperators} from "./interfaces/IOperators.sol";
import {Signatures} from "./libraries/Signatures.sol";
import {TermsHash} from "./libraries/TermsHash.sol";
import {Scopes} from "./types/Types.sol";

/// @title Which keys act for which participants, in what, until when.
abstract contract Operators is IOperators, EIP712 {
    uint256 private constant MAX_OPERATORS = 64;

    mapping(address account => mapping(address operator => Operator)) private _operators;
    mapping(address account => address[]) private _known;
    mapping(address operator => address account) private _served;

    /// @inheritdoc IOperators
    function authorise(address operator, uint16 scopes, uint40 notAfter) external {
        _authorise(msg.sender, operator, scopes, notAfter);
    }

    /// @inheritdoc IOperators
    function authoriseSigned(
        address account,
        address operator,
        uint16 scopes,
        uint40 notAfter,
        bytes calldata signature
    ) external {
        uint32 nonce = _operators[account][operator].nonce;
        bytes32 digest = authorisationDigest(account, operator, scopes, notAfter, nonce);
        if (!Signatures.signed(account, digest, signature)) revert BadAuthorisation(account);
        _authorise(account, operator, scopes, notAfter);
    }

    /// @inheritdoc IOperators
    function resign(address account) external {
        if (_operators[account][msg.sender].scopes == 0) revert NotAnOperator(account, msg.sender);
        _end(account, msg.sender);
    }

    /* VIEWS */

    /// @inheritdoc IOperators
    function actsFor(address operator, address account, uint16 scope) external view returns (bool) {
        Operator storage found = _operators[account][operator];
        return found.scopes & scope == scope && scope != 0 && block.timestamp <= found.notAfter && _isActive(account);
    }

    /// @inheritdoc IOperators
    function couldSign(address operator, address account, uint40 since) external view returns (bool) {
        Operator storage found = _operators[account][operator];
        return found.signsUntil != 0 && found.signsUntil >= since;
    }

    /// @inheritdoc IOperators
    function operatorAt(address account, address operator) external view returns (Operator memory) {
        return _operators[account][operator];
    }

    /// @inheritdoc IOperators
    function operatorsOf(address account) external view returns (address[] memory) {
        return _known[account];
    }

    /// @inheritdoc IOperators
    function authorisationDigest(address account, address operator, uint16 scopes, uint40 notAfter, uint32 nonce)
        public
        view
        returns (bytes32)
    {
        return _hashTypedDataV4(TermsHash.authorisation(account, operator, scopes, notAfter, nonce));
    }

    /* RULES */

    /// @dev Whether an account is an active participant inside its validity. Never reverts.
    function _isActive(address account) internal view virtual returns (bool);

    function _authorise(address account, address operator, uint16 scopes, uint40 notAfter) private {
        if (operator == address(0) || operator == account) revert BadOperator(operator);
        if (scopes > Scopes.ALL) revert BadScopes(scopes);
        if (scopes == 0) {
            _end(account, operator);
            return;
        }
        if (notAfter < block.timestamp) revert BadExpiry(notAfter);
        if (!_isActive(account)) revert InactiveParticipant(account);
        Operator storage found = _operators[account][operator];
        if (found.everScopes == 0) {
            if (_served[operator] != address(0)) revert ServesAnother(operator);
            if (_known[account].length == MAX_OPERATORS) revert TooManyOperators(account);
            _served[operator] = account;
            _known[account].push(operator);
        }

        found.scopes = scopes;
        found.everScopes |= scopes;
        found.notAfter = notAfter;
        if (scopes & Scopes.SIGN != 0) found.signsUntil = notAfter;
        else _endSigning(found);
        ++found.nonce;
        emit OperatorChanged(account, operator, scopes, notAfter);
    }

    /// @dev What the operator signed before stays the participant's word.
    function _end(address account, address operator) private {
        Operator storage found = _operators[account][operator];
        found.scopes = 0;
        if (found.notAfter > block.timestamp) found.notAfter = uint40(block.timestamp);
        _endSigning(found);
        ++found.nonce;
        emit OperatorChanged(account, operator, 0, found.notAfter);
    }

    function _endSigning(Operator storage found) private {
        if (found.signsUntil > block.timestamp) found.signsUntil = uint40(block.timestamp);
    }
}
