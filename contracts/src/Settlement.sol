// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.20;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import {ReentrancyGuard} from "@openzeppelin/contracts/utils/ReentrancyGuard.sol";
import {EIP712} from "@openzeppelin/contracts/utils/cryptography/EIP712.sol";
import {IDisputes} from "./interfaces/IDisputes.sol";
import {IParticipantRegistry} from "./interfaces/IParticipantRegistry.sol";
import {IProofRegistry} from "./interfaces/IProofRegistry.sol";
import {ISettlement} from "./interfaces/ISettlement.sol";
import {ITaskLedger} from "./interfaces/ITaskLedger.sol";
import {Signatures} from "./libraries/Signatures.sol";
import {StructHash} from "./libraries/StructHash.sol";
import {TermsHash} from "./libraries/TermsHash.sol";
import {Agreement} from "./types/Terms.sol";
import {Party, Proposal, Scopes} from "./types/Types.sol";

/// @title Fees and bonds of tasks: deposited before a task starts, divided when it has ended and nothing is disputed any more.
contract Settlement is ISettlement, EIP712, ReentrancyGuard {
    using SafeERC20 for IERC20;
    using StructHash for Proposal;
    using TermsHash for Agreement;

    uint256 private constant WHOLE = 10_000; // basis points
    uint256 private constant MAX_PARTIES = 16;
    uint256 private constant MAX_ARBITERS = 7;
    uint256 private constant MAX_WAIT = 30 days;
    uint256 private constant REQUESTER = 16; // its bit, when it is no party
    uint256 private constant CONSORTIUM = 17;

    IParticipantRegistry public immutable participants;
    ITaskLedger public immutable tasks;
    IProofRegistry public immutable proofs;
    IDisputes public immutable disputes;

    mapping(bytes32 task => Escrow) private _escrows;

    constructor(
        IParticipantRegistry participants_,
        ITaskLedger tasks_,
        IProofRegistry proofs_,
        IDisputes disputes_
    ) EIP712("Tallystick Settlement", "1") {
        participants = participants_;
        tasks = tasks_;
        proofs = proofs_;
        disputes = disputes_;
    }

    /// @inheritdoc ISettlement
    function open(Proposal calldata proposal, Agreement calldata agreement) external payable nonReentrant {
        if (msg.sender != proposal.requester) revert NotTheRequester(msg.sender);
        bytes32 task = proposal.structHash();
        if (agreement.task != task) revert WrongTask(agreement.task);
        if (_escrows[task].stage != Stage.None) revert AgreementExists(task);
        _requireTerms(proposal, agreement);
        ITaskLedger.Task memory found = tasks.taskAt(task);
        if (!_unstarted(found) || found.accepted != 0 || block.timestamp > proposal.acceptBy) revert TaskUnderWay(task);

        _escrows[task].agreement = agreement.structHash();
        _escrows[task].stage = Stage.Open;
        emit AgreementOpened(task, msg.sender, agreement.token, agreement);
        _take(agreement.token, agreement.fee);
    }

    /// @inheritdoc ISettlement
    function post(Proposal calldata proposal, Agreement calldata agreement) external payable nonReentrant {
        (bytes32 task, Escrow storage escrow) = _load(proposal, agreement, Stage.Open);
        (uint256 place, address account) = _caller(proposal);
        uint24 bit = uint24(1 << place);
        if (escrow.posted & bit != 0) revert BondIsPosted(account);
        if (!_unstarted(tasks.taskAt(task)) || block.timestamp > proposal.acceptBy) revert TaskUnderWay(task);

        escrow.posted |= bit;
        emit BondPosted(task, account, agreement.bond);
        _take(agreement.token, agreement.bond);
    }

    /// @inheritdoc ISettlement
    function measure(
        Proposal calldata proposal,
        Agreement calldata agreement,
        uint16[] calldata shares,
        bytes[] calldata signatures
    ) external {
        (bytes32 task, Escrow storage escrow) = _load(proposal, agreement, Stage.Open);
        if (!agreement.measured || escrow.measured) revert NotMeasured(task);
        IProofRegistry.Proof memory proof = proofs.proofOf(task);
        if (proof.provedAt == 0) revert TaskNotEnded(task);
        _requireShares(proposal, shares);
        bytes32 digest = contributionDigest(task, proof.attempt, proof.digest, shares);
        uint256 packed;
        for (uint256 i; i < shares.length; ++i) {
            address party = proposal.parties[i].account;
            if (proof.absent >> i & 1 == 1 ? shares[i] != 0 : !_signed(party, digest, signatures, i)) {
                revert BadContribution(party);
            }
            packed |= uint256(shares[i]) << (16 * i);
        }

        escrow.measured = true;
        escrow.contributions = packed;
        emit SharesMeasured(task, proof.attempt, shares);
    }

    /// @inheritdoc ISettlement
    function settle(Proposal calldata proposal, Agreement calldata agreement) external {
        (bytes32 task, Escrow storage escrow) = _load(proposal, agreement, Stage.Open);
        (bool proved, uint40 closes) =
            _endOf(task, proposal.acceptBy, proposal.attempts, agreement.disputeSeconds);
        IProofRegistry.Proof memory proof = proofs.proofOf(task);
        if (closes == 0) revert TaskNotEnded(task);
        uint24 posted = escrow.posted;
        if ((proved || posted != 0) && block.timestamp <= closes) revert TooEarly(task, closes);
        IDisputes.Verdict memory verdict = disputes.verdictOf(task);
        if (verdict.pending != 0) revert DisputePending(task);

        uint24 denied = verdict.atFault | proof.absent;
        if (agreement.bond != 0) denied |= ~posted;
        escrow.denied = denied & uint24((1 << proposal.parties.length) - 1);
        escrow.lost = posted & (verdict.atFault | verdict.forfeited);
        escrow.attempts = proof.attempt;
        escrow.stage = proved && !verdict.void ? Stage.Paid : Stage.Returned;
        Escrow memory done = escrow;
        uint256[] memory amounts = _payouts(proposal, agreement, done);
        emit TaskSettled(task, done.stage == Stage.Paid, done.lost, done.denied, amounts);
    }

    /// @inheritdoc ISettlement
    function claim(Proposal calldata proposal, Agreement calldata agreement, address to) external nonReentrant {
        if (to == address(0)) revert NoReceiver();
        (bytes32 task, Escrow storage escrow) = _settled(proposal, agreement);
        uint256[] memory amounts = _payouts(proposal, agreement, escrow);
        uint256 count = proposal.parties.length;
        uint24 claimed = escrow.claimed;
        uint256 amount;
        for (uint256 i; i < amounts.length; ++i) {
            uint24 bit = uint24(1 << (i < count ? i : REQUESTER + i - count));
            if (claimed & bit != 0 || amounts[i] == 0) continue;
            if (msg.sender != _recipient(proposal, i)) continue;
            claimed |= bit;
            amount += amounts[i];
        }
        if (amount == 0) revert NothingOwed(msg.sender);

        escrow.claimed = claimed;
        emit PaidOut(task, msg.sender, agreement.token, amount, to);
        if (agreement.token != address(0)) {
            IERC20(agreement.token).safeTransfer(to, amount);
        } else {
            (bool sent,) = to.call{value: amount}("");
            if (!sent) revert CoinRefused(to);
        }
    }

    /* VIEWS */

    /// @inheritdoc ISettlement
    function escrowOf(bytes32 task) external view returns (Escrow memory) {
        return _escrows[task];
    }

    /// @inheritdoc ISettlement
    function agreementId(Agreement calldata agreement) external pure returns (bytes32) {
        return agreement.structHash();
    }

    /// @inheritdoc ISettlement
    function contributionDigest(bytes32 task, uint8 attempt, bytes32 result, uint16[] calldata shares)
        public
        view
        returns (bytes32)
    {
        return _hashTypedDataV4(TermsHash.contribution(task, attempt, result, shares));
    }

    /// @inheritdoc ISettlement
    function termsOf(bytes32 task) external view returns (bytes32 agreement, uint24 posted) {
        return (_escrows[task].agreement, _escrows[task].posted);
    }

    /// @inheritdoc ISettlement
    function closesAt(bytes32 task, uint40 acceptBy, uint8 attempts, uint32 disputeSeconds)
        external
        view
        returns (uint40 closes)
    {
        (, closes) = _endOf(task, acceptBy, attempts, disputeSeconds);
    }

    /// @inheritdoc ISettlement
    function payouts(Proposal calldata proposal, Agreement calldata agreement)
        external
        view
        returns (uint256[] memory)
    {
        (, Escrow storage escrow) = _settled(proposal, agreement);
        return _payouts(proposal, agreement, escrow);
    }

    /* RULES */

    /// @dev The agreement is identified by its hash alone, and it names its task: that is enough to know the proposal too.
    function _load(Proposal calldata proposal, Agreement calldata agreement, Stage stage)
        private
        view
        returns (bytes32 task, Escrow storage escrow)
    {
        (task, escrow) = _find(proposal, agreement);
        if (escrow.stage != stage) revert WrongStage(task, escrow.stage);
    }

    function _settled(Proposal calldata proposal, Agreement calldata agreement)
        private
        view
        returns (bytes32 task, Escrow storage escrow)
    {
        (task, escrow) = _find(proposal, agreement);
        if (escrow.stage != Stage.Paid && escrow.stage != Stage.Returned) revert WrongStage(task, escrow.stage);
    }

    function _find(Proposal calldata proposal, Agreement calldata agreement)
        private
        view
        returns (bytes32 task, Escrow storage escrow)
    {
        task = proposal.structHash();
        escrow = _escrows[task];
        if (escrow.agreement == 0 || escrow.agreement != agreement.structHash()) revert AgreementUnknown(task);
    }

    function _requireTerms(Proposal calldata proposal, Agreement calldata agreement) private view {
        uint256 count = proposal.parties.length;
        if (count == 0 || count > MAX_PARTIES) revert BadShares();
        if (agreement.price == 0) _requireShares(proposal, agreement.shares);
        else if (agreement.shares.length != 0 || agreement.measured) revert BadShares();
        if (
            agreement.disputeSeconds == 0 || agreement.disputeSeconds > MAX_WAIT || agreement.rulingSeconds == 0
                || agreement.rulingSeconds > MAX_WAIT || proposal.acceptBy > block.timestamp + MAX_WAIT
        ) revert BadPeriods();
        uint256 arbiters = agreement.arbiters.length;
        if (arbiters > MAX_ARBITERS) revert BadArbiters();
        for (uint256 i; i < arbiters; ++i) {
            address arbiter = agreement.arbiters[i];
            if (arbiter <= (i == 0 ? address(0) : agreement.arbiters[i - 1])) revert BadArbiters();
            if (arbiter == proposal.requester) revert BadArbiters(); // nobody judges its own case
            for (uint256 j; j < count; ++j) {
                if (arbiter == proposal.parties[j].account) revert BadArbiters();
            }
        }
    }

    function _requireShares(Proposal calldata proposal, uint16[] calldata shares) private pure {
        if (shares.length != proposal.parties.length) revert BadShares();
        uint256 total;
        for (uint256 i; i < shares.length; ++i) {
            total += shares[i];
        }
        if (total != WHOLE) revert BadShares();
    }

    /// @dev Not proposed yet, or proposed and no attempt was ever started.
    function _unstarted(ITaskLedger.Task memory task) private pure returns (bool) {
        if (task.state == ITaskLedger.State.None) return true;
        return task.state == ITaskLedger.State.Proposed && task.attempt == 1;
    }

    /// @dev Whether the task is proved, and until when it may be disputed; zero while it may still be proved. A task is over when
    /// the ledger would let nobody prove it any more, whether somebody told the ledger or not.
    function _endOf(bytes32 id, uint40 acceptBy, uint8 attempts, uint32 window) private view returns (bool, uint40) {
        ITaskLedger.Task memory task = tasks.taskAt(id);
        if (task.state == ITaskLedger.State.Proved) return (true, proofs.proofOf(id).provedAt + window);
        bool over = block.timestamp > acceptBy;
        if (task.state == ITaskLedger.State.Running) over = over && block.timestamp > task.runBy;
        if (task.state == ITaskLedger.State.Failed) over = over || task.attempt >= attempts;
        if (task.state == ITaskLedger.State.Cancelled || task.state == ITaskLedger.State.Expired) over = true;
        if (!over) return (false, 0);
        return (false, (task.runBy > acceptBy ? task.runBy : acceptBy) + window);
    }

    /// @dev The bit of an account: a party's place, or the requester's own.
    function _place(Proposal calldata proposal, address account) private pure returns (uint256) {
        for (uint256 i; i < proposal.parties.length; ++i) {
            if (proposal.parties[i].account == account) return i;
        }
        if (account == proposal.requester) return REQUESTER;
        revert NotAParty(account);
    }

    /// @dev Who undertakes by this call, and its bit: the caller, or a party that it acts for.
    function _caller(Proposal calldata proposal) private view returns (uint256 place, address account) {
        if (msg.sender != proposal.requester) {
            place = Signatures.caller(participants, proposal.parties, Scopes.STAKE);
            if (place != proposal.parties.length) return (place, proposal.parties[place].account);
        }
        return (_place(proposal, msg.sender), msg.sender);
    }

    function _signed(address party, bytes32 digest, bytes[] calldata signatures, uint256 i) private view returns (bool) {
        return i < signatures.length && Signatures.signedFor(participants, party, Scopes.SIGN, digest, signatures[i]);
    }

    function _recipient(Proposal calldata proposal, uint256 index) private view returns (address) {
        uint256 count = proposal.parties.length;
        if (index < count) return proposal.parties[index].account;
        return index == count ? proposal.requester : participants.governor();
    }

    /// @dev The fee goes by shares, or by uses, to the parties that are not denied, and what is left to the requester. Bonds go back to who
    /// stood. Lost bonds are divided equally among the parties that stood and the requester; in the place of a requester that
    /// lost its own bond stands the consortium, so that there is always somebody.
    function _payouts(Proposal calldata proposal, Agreement calldata agreement, Escrow memory escrow)
        private
        pure
        returns (uint256[] memory amounts)
    {
        uint256 count = proposal.parties.length;
        amounts = new uint256[](count + 2);
        uint256 left = agreement.fee;
        uint256 uses = agreement.price == 0 ? 0 : _uses(proposal);
        uint256 standing;
        uint256 lost;
        for (uint256 i; i < count; ++i) {
            if (escrow.stage == Stage.Paid && escrow.denied >> i & 1 == 0) {
                amounts[i] = agreement.price == 0
                    ? agreement.fee * _share(agreement, escrow, i) / WHOLE
                    : _metered(agreement, uint256(proposal.parties[i].uses) * escrow.attempts, uses * escrow.attempts);
                left -= amounts[i];
            }
            if (escrow.lost >> i & 1 == 1) lost += agreement.bond;
            else if (escrow.posted >> i & 1 == 1) ++standing;
        }
        amounts[count] = left;
        if (escrow.lost >> REQUESTER & 1 == 1) lost += agreement.bond;
        else if (escrow.posted >> REQUESTER & 1 == 1) amounts[count] += agreement.bond;
        uint256 part = lost / (standing + 1);
        for (uint256 i; i < count; ++i) {
            if (escrow.posted >> i & 1 == 1 && escrow.lost >> i & 1 == 0) amounts[i] += agreement.bond + part;
        }
        bool forfeited = escrow.lost >> _place(proposal, proposal.requester) & 1 == 1;
        amounts[forfeited ? count + 1 : count] += lost - part * standing;
    }

    function _share(Agreement calldata agreement, Escrow memory escrow, uint256 i) private pure returns (uint256) {
        return escrow.measured ? uint16(escrow.contributions >> (16 * i)) : agreement.shares[i];
    }

    /// @dev The price of a party's uses, or of the fee the part that they are of all uses, where it does not suffice for all.
    function _metered(Agreement calldata agreement, uint256 used, uint256 all) private pure returns (uint256) {
        if (all * agreement.price <= agreement.fee) return used * agreement.price;
        return agreement.fee * used / all;
    }

    /// @dev What one attempt debits of all grants.
    function _uses(Proposal calldata proposal) private pure returns (uint256 uses) {
        for (uint256 i; i < proposal.parties.length; ++i) {
            uses += proposal.parties[i].uses;
        }
    }

    /// @dev Takes exactly `amount` from the caller.
    function _take(address token, uint256 amount) private {
        uint256 expected = token == address(0) ? amount : 0;
        if (msg.value != expected) revert WrongValue(expected, msg.value);
        if (token == address(0) || amount == 0) return;
        uint256 before = IERC20(token).balanceOf(address(this));
        IERC20(token).safeTransferFrom(msg.sender, address(this), amount);
        uint256 received = IERC20(token).balanceOf(address(this)) - before;
        if (received != amount) revert WrongValue(amount, received);
    }
}
