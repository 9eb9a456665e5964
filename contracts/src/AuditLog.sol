// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.20;

import {IAuditLog} from "./interfaces/IAuditLog.sol";
import {IParticipantRegistry} from "./interfaces/IParticipantRegistry.sol";
import {Scopes} from "./types/Types.sol";

/// @title Heads of the append-only logs that nodes keep (accesses, refusals, transcripts).
contract AuditLog is IAuditLog {
    IParticipantRegistry public immutable participants;

    mapping(address account => Head) private _heads;

    constructor(IParticipantRegistry participants_) {
        participants = participants_;
    }

    /// @inheritdoc IAuditLog
    function anchor(bytes32 root, uint64 size) external {
        participants.requireActive(msg.sender, 0);
        _anchor(msg.sender, root, size);
    }

    /// @inheritdoc IAuditLog
    function anchorFor(address account, bytes32 root, uint64 size) external {
        if (!participants.actsFor(msg.sender, account, Scopes.REPORT)) revert NotAnOperatorOf(account, msg.sender);
        _anchor(account, root, size);
    }

    /// @inheritdoc IAuditLog
    function headOf(address account) external view returns (Head memory) {
        return _heads[account];
    }

    function _anchor(address account, bytes32 root, uint64 size) private {
        if (root == 0) revert EmptyRoot();
        uint64 anchored = _heads[account].size;
        if (size <= anchored) revert NotGrowing(anchored, size);

        _heads[account] = Head(root, size, uint40(block.timestamp));
        emit Anchored(account, size, root);
    }
}
