// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.20;

import {IAlgorithmRegistry} from "./interfaces/IAlgorithmRegistry.sol";
import {IParticipantRegistry} from "./interfaces/IParticipantRegistry.sol";
import {Roles} from "./types/Types.sol";

/// @title Which algorithms exist, whose they are, and what other participants said of them after reading them.
contract AlgorithmRegistry is IAlgorithmRegistry {
    /// @dev Reviewers of one algorithm form a list from the newest to the first; it ends at the author, who is never in it.
    struct Entry {
        address next;
        bool approved;
        uint40 reviewedAt;
        bytes32 reason;
    }

    IParticipantRegistry public immutable participants;

    mapping(bytes32 code => Algorithm) private _algorithms;
    mapping(bytes32 code => mapping(address reviewer => Entry)) private _reviews;

    constructor(IParticipantRegistry participants_) {
        participants = participants_;
    }

    /// @inheritdoc IAlgorithmRegistry
    function register(bytes32 code, uint8 kind, bytes32 card) external {
        participants.requireActive(msg.sender, Roles.ALGORITHM_PROVIDER);
        if (code == 0 || kind == 0 || card == 0) revert MemberMissing();
        address author = _algorithms[code].author;
        if (author != address(0)) revert AlgorithmExists(code, author);

        _algorithms[code] = Algorithm(msg.sender, kind, false, uint40(block.timestamp), 0, card, msg.sender);
        emit AlgorithmRegistered(code, msg.sender, kind, card);
    }

    /// @inheritdoc IAlgorithmRegistry
    function withdraw(bytes32 code) external {
        Algorithm storage a = _usable(code);
        if (a.author != msg.sender) revert NotTheAuthor(code, msg.sender);

        a.withdrawn = true;
        emit AlgorithmWithdrawn(code, msg.sender);
    }

    /// @inheritdoc IAlgorithmRegistry
    function review(bytes32 code, bool approved, bytes32 reason) external {
        participants.requireActive(msg.sender, 0);
        if (reason == 0) revert MemberMissing();
        Algorithm storage a = _usable(code);
        bool own = approved ? _sameOrganisation(a.author, msg.sender) : a.author == msg.sender;
        if (own) revert OwnAlgorithm(code, msg.sender);
        Entry storage entry = _reviews[code][msg.sender];
        address next = entry.next;
        if (next != address(0) && entry.approved == approved) revert SameVerdict(code, msg.sender);

        if (next == address(0)) {
            next = a.newest;
            a.newest = msg.sender;
            ++a.reviewers;
        }
        _reviews[code][msg.sender] = Entry(next, approved, uint40(block.timestamp), reason);
        emit AlgorithmReviewed(code, msg.sender, approved, reason);
    }

    /* VIEWS */

    /// @inheritdoc IAlgorithmRegistry
    function algorithmAt(bytes32 code) external view returns (Algorithm memory) {
        return _algorithms[code];
    }

    /// @inheritdoc IAlgorithmRegistry
    function reviewAt(bytes32 code, address reviewer) external view returns (Review memory) {
        return _reviewed(code, reviewer);
    }

    /// @inheritdoc IAlgorithmRegistry
    function reviewsOf(bytes32 code, address afterReviewer, uint256 most)
        external
        view
        returns (Review[] memory found)
    {
        Algorithm storage a = _algorithms[code];
        if (a.author == address(0)) revert UnknownAlgorithm(code);
        address first = a.newest;
        if (afterReviewer != address(0)) {
            first = _reviews[code][afterReviewer].next;
            if (first == address(0)) revert NotAReviewer(code, afterReviewer);
        }
        uint256 count;
        for (address each = first; each != a.author && count < most; each = _reviews[code][each].next) {
            ++count;
        }
        found = new Review[](count);
        for (uint256 i = 0; i < count; ++i) {
            found[i] = _reviewed(code, first);
            first = _reviews[code][first].next;
        }
    }

    /// @inheritdoc IAlgorithmRegistry
    function approvals(bytes32 code, address[] calldata reviewers) external view returns (Verdicts memory found) {
        address author = _usable(code).author;
        address previous;
        for (uint256 i = 0; i < reviewers.length; ++i) {
            address reviewer = reviewers[i];
            if (reviewer <= previous) revert NotAscending(reviewer);
            previous = reviewer;
            Entry storage entry = _reviews[code][reviewer];
            if (entry.next == address(0)) continue;
            if (!entry.approved) ++found.rejected;
            else if (_isActive(reviewer) && !_sameOrganisation(author, reviewer)) ++found.approved;
        }
    }

    /* RULES */

    function _usable(bytes32 code) private view returns (Algorithm storage a) {
        a = _algorithms[code];
        if (a.author == address(0)) revert UnknownAlgorithm(code);
        if (a.withdrawn) revert AlgorithmIsWithdrawn(code);
    }

    function _reviewed(bytes32 code, address reviewer) private view returns (Review memory) {
        Entry storage entry = _reviews[code][reviewer];
        if (entry.next == address(0)) revert NotAReviewer(code, reviewer);
        return Review(reviewer, entry.approved, entry.reviewedAt, entry.reason);
    }

    function _isActive(address account) private view returns (bool) {
        try participants.requireActive(account, 0) {
            return true;
        } catch {
            return false;
        }
    }

    function _sameOrganisation(address author, address reviewer) private view returns (bool) {
        return author == reviewer
            || participants.participant(author).fingerprint == participants.participant(reviewer).fingerprint
            || participants.operatorAt(author, reviewer).everScopes != 0
            || participants.operatorAt(reviewer, author).everScopes != 0;
    }
}
