// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.20;

/// @title Which algorithms exist, whose they are, and what other participants said of them after reading them.
/// @notice Digests only: code, description and grounds stay with those who have them. The digest of the code is the algorithm: a
/// changed line is another one, without reviews. Nothing is allowed here: owners allow, by their grants and their nodes' policies, and
/// ask what is here. Two accounts are of one organisation when their certificates are the same, or one was ever an operator of the
/// other. That takes away approvals alone: an author can make anybody its operator unasked, and could silence who rejects.
interface IAlgorithmRegistry {
    struct Algorithm {
        address author;
        uint8 kind; // a number of docs/spec/algorithm.md, never zero
        bool withdrawn;
        uint40 registeredAt; // seconds since 1970
        uint32 reviewers; // who reviewed it at least once
        bytes32 card; // digest of the description
        address newest; // who reviewed it for the first time last; the author when nobody did
    }

    struct Review {
        address reviewer;
        bool approved;
        uint40 reviewedAt; // seconds since 1970
        bytes32 reason; // digest of the written grounds
    }

    struct Verdicts {
        uint256 approved;
        uint256 rejected;
    }

    event AlgorithmRegistered(bytes32 indexed code, address indexed author, uint8 kind, bytes32 card);
    event AlgorithmWithdrawn(bytes32 indexed code, address indexed author);
    event AlgorithmReviewed(bytes32 indexed code, address indexed reviewer, bool approved, bytes32 reason);

    error UnknownAlgorithm(bytes32 code);
    error AlgorithmExists(bytes32 code, address author);
    error AlgorithmIsWithdrawn(bytes32 code);
    error NotTheAuthor(bytes32 code, address caller);
    error OwnAlgorithm(bytes32 code, address reviewer);
    error SameVerdict(bytes32 code, address reviewer);
    error NotAReviewer(bytes32 code, address account);
    error NotAscending(address account);
    error MemberMissing();

    /// @notice Registers the code with this digest; the caller, an active algorithm provider, is its author. Once.
    function register(bytes32 code, uint8 kind, bytes32 card) external;

    /// @notice Ends the registration for good. Author only; allowed also when suspended, so that an author can always warn of its code.
    function withdraw(bytes32 code) external;

    /// @notice Says of an algorithm that the caller approves or rejects it, in the place of the opposite that it said before. Any active
    /// participant but the author; to approve, of another organisation. `reason` is the digest of its written grounds.
    function review(bytes32 code, bool approved, bytes32 reason) external;

    function algorithmAt(bytes32 code) external view returns (Algorithm memory);

    /// @notice What `reviewer` says now; reverts when it never reviewed this code.
    function reviewAt(bytes32 code, address reviewer) external view returns (Review memory);

    /// @notice What reviewers say now, at most `most` of them: whoever reviewed first comes last. The next page is the one after the last
    /// reviewer of this one; `afterReviewer` is zero for the first page.
    function reviewsOf(bytes32 code, address afterReviewer, uint256 most) external view returns (Review[] memory);

    /// @notice How many of these accounts, in ascending order, approve now, and how many reject. An approval counts while who gave it is
    /// active and of another organisation than the author, a rejection always. Reverts when the code is unknown or withdrawn.
    function approvals(bytes32 code, address[] calldata reviewers) external view returns (Verdicts memory);
}
