// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.20;

import {Agreement} from "../types/Terms.sol";
import {Proposal} from "../types/Types.sol";

/// @title Fees and bonds of tasks: deposited before a task starts, divided when it has ended and nothing is disputed any more.
///
///   None --open (the requester deposits the fee)--> Open --settle--> Paid (by shares) or Returned (to the requester)
///
/// @notice All money is held here and paid out to who claims it, never pushed. Every agreement can be settled by anyone: the task
/// ends by its own deadlines, the time for disputes is bounded, and each dispute has a deadline and a default. Sums are exact: what
/// is claimed of one agreement adds up to its fee and its bonds.
/// @dev Participants choose the token. A token that takes a fee of its own on transfers is refused; one that lies about balances
/// cheats those who agreed on it and nobody else, as the accounts of each agreement are its own.
interface ISettlement {
    enum Stage {
        None,
        Open,
        Paid,
        Returned
    }

    /// @dev Bit i stands for party i, bit 16 for a requester that is no party, bit 17 for the consortium's governor.
    struct Escrow {
        bytes32 agreement; // its id
        Stage stage;
        bool measured; // `contributions` count instead of the declared shares
        uint24 posted; // who staked a bond
        uint24 lost; // whose bond is lost; known once it is settled
        uint24 denied; // which parties get no share; known once it is settled
        uint24 claimed; // who was paid
        uint8 attempts; // that were started, the proved one included, each of which debited its uses; known once it is settled
        uint256 contributions; // 16 bits for each party, the first lowest
    }

    event AgreementOpened(bytes32 indexed task, address indexed requester, address indexed token, Agreement agreement);
    event BondPosted(bytes32 indexed task, address indexed account, uint128 bond);
    event SharesMeasured(bytes32 indexed task, uint8 attempt, uint16[] shares);
    /// @param amounts what each party, then the requester, then the consortium may claim
    event TaskSettled(bytes32 indexed task, bool paid, uint24 lost, uint24 denied, uint256[] amounts);
    event PaidOut(bytes32 indexed task, address indexed account, address token, uint256 amount, address to);

    error NotTheRequester(address caller);
    error NotAParty(address account);
    error WrongTask(bytes32 task);
    error AgreementExists(bytes32 task);
    error AgreementUnknown(bytes32 task);
    error BadShares();
    error BadArbiters();
    error BadPeriods();
    error WrongValue(uint256 required, uint256 given);
    error TaskUnderWay(bytes32 task);
    error TaskNotEnded(bytes32 task);
    error BondIsPosted(address account);
    error WrongStage(bytes32 task, Stage stage);
    error DisputePending(bytes32 task);
    error NotMeasured(bytes32 task);
    error BadContribution(address party);
    error NothingOwed(address account);
    error NoReceiver();
    error CoinRefused(address to);
    error TooEarly(bytes32 task, uint40 deadline);

    /// @notice Declares an agreement and deposits its fee. The requester only, before any party accepted; once for each task.
    function open(Proposal calldata proposal, Agreement calldata agreement) external payable;

    /// @notice Undertakes the agreement and stakes its bond, which may be zero. A party or the requester, for itself, or a party's operator
    /// for it and with coins of its own, before the first attempt starts. What comes back of the bond is the party's. Who undertakes promises to meet the task's deadlines and takes the arbiters' word. A party that does not, where
    /// a bond is asked, gets no share.
    function post(Proposal calldata proposal, Agreement calldata agreement) external payable;

    /// @notice Replaces the declared shares by contributions that every party signed for the proved result. Anyone may relay, once.
    /// @param signatures of every party in order, empty for one that was absent, whose share is zero. EIP-712: Contribution(bytes32 task,uint8 attempt,bytes32 result,uint16[] shares)
    function measure(
        Proposal calldata proposal,
        Agreement calldata agreement,
        uint16[] calldata shares,
        bytes[] calldata signatures
    ) external;

    /// @notice Divides fee and bonds, for good; a party that was absent from the proved result gets no share: after the end of the task, after the time for disputes, when none is pending. Anyone.
    /// A task that ended without proof and without bonds is settled at once.
    function settle(Proposal calldata proposal, Agreement calldata agreement) external;

    /// @notice Pays the caller what it is owed of a settled task, to an account of its choice.
    function claim(Proposal calldata proposal, Agreement calldata agreement, address to) external;

    function escrowOf(bytes32 task) external view returns (Escrow memory);
    function agreementId(Agreement calldata agreement) external view returns (bytes32);
    function contributionDigest(bytes32 task, uint8 attempt, bytes32 result, uint16[] calldata shares)
        external
        view
        returns (bytes32);

    /// @notice The id of a task's agreement, zero where none was opened, and who staked a bond under it.
    function termsOf(bytes32 task) external view returns (bytes32 agreement, uint24 posted);

    /// @notice Until when evidence and challenges are taken; zero while the task can still be proved. `acceptBy` and `attempts` are
    /// those of the task's proposal: the caller knows it.
    function closesAt(bytes32 task, uint40 acceptBy, uint8 attempts, uint32 disputeSeconds)
        external
        view
        returns (uint40);

    /// @notice What each party, then the requester, then the consortium is owed of a settled task, claimed or not.
    function payouts(Proposal calldata proposal, Agreement calldata agreement) external view returns (uint256[] memory);
}
