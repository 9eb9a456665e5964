// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.20;

import {EIP712} from "@openzeppelin/contracts/utils/cryptography/EIP712.sol";
import {IDisputes} from "./interfaces/IDisputes.sol";
import {IParticipantRegistry} from "./interfaces/IParticipantRegistry.sol";
import {IProofRegistry} from "./interfaces/IProofRegistry.sol";
import {ISettlement} from "./interfaces/ISettlement.sol";
import {ITaskLedger} from "./interfaces/ITaskLedger.sol";
import {Rfc9162} from "./libraries/Rfc9162.sol";
import {Signatures} from "./libraries/Signatures.sol";
import {StructHash} from "./libraries/StructHash.sol";
import {TermsHash} from "./libraries/TermsHash.sol";
import {Agreement, Demand, LinkDigest, Opening, SignedLink, SignedResult} from "./types/Terms.sol";
import {Proposal, Result, Scopes} from "./types/Types.sol";

/// @title Who broke a task's rules: breaches that the contract sees by itself, and challenges that arbiters judge.
contract Disputes is IDisputes, EIP712 {
    using StructHash for Proposal;
    using StructHash for Result;
    using TermsHash for Agreement;
    using TermsHash for LinkDigest;
    using TermsHash for Opening;

    uint8 private constant REQUESTER = 16;
    uint8 private constant NO_ONE = 255;
    uint32 private constant STANDARD_DISPUTE = 3 days;
    uint32 private constant STANDARD_RULING = 14 days;
    uint40 private constant MAX_WAIT = 30 days; // of the ledger: between proposal and `acceptBy`
    uint16 private constant OPENING_DEMANDED = 12; // a reason code

    IParticipantRegistry public immutable participants;
    ITaskLedger public immutable tasks;
    IProofRegistry public immutable proofs;
    ISettlement public immutable settlement;

    mapping(bytes32 task => Verdict) private _verdicts;
    mapping(bytes32 dispute => Dispute) private _disputes;
    mapping(bytes32 dispute => bytes32) private _demands;

    constructor(
        IParticipantRegistry participants_,
        ITaskLedger tasks_,
        IProofRegistry proofs_,
        ISettlement settlement_
    ) EIP712("Tallystick Disputes", "1") {
        participants = participants_;
        tasks = tasks_;
        proofs = proofs_;
        settlement = settlement_;
    }

    /* CHALLENGES */

    /// @inheritdoc IDisputes
    function challenge(
        Proposal calldata proposal,
        Agreement calldata agreement,
        address accused,
        uint16 reason,
        bytes32 evidence
    ) external returns (bytes32 dispute) {
        dispute = disputeId(agreement.task, msg.sender, accused);
        _raise(proposal, agreement, dispute, accused, reason, evidence);
    }

    /// @inheritdoc IDisputes
    function demandOpening(Proposal calldata proposal, Agreement calldata agreement, Demand calldata demand)
        external
        returns (bytes32 dispute)
    {
        if (demand.index >= demand.size || demand.rows == 0) revert BadDemand();
        address owner = proposal.parties[_owner(proposal, demand.dataset)].account;
        dispute = demandId(agreement.task, msg.sender, owner);
        bytes32 asked = keccak256(abi.encode(demand));
        _demands[dispute] = asked;
        _raise(proposal, agreement, dispute, owner, OPENING_DEMANDED, asked);
        emit OpeningDemanded(dispute, agreement.task, owner, demand);
    }

    /// @inheritdoc IDisputes
    function answerOpening(
        Proposal calldata proposal,
        Agreement calldata agreement,
        bytes32 dispute,
        Opening calldata opening
    ) external {
        (bytes32 task, Dispute memory found) = _pending(proposal, agreement, dispute);
        if (block.timestamp > found.ruleBy) revert TooLate(task, found.ruleBy);
        bytes32 shown = keccak256(abi.encode(opening.dataset, opening.rows, opening.index, opening.size));
        bool holds = Rfc9162.included(opening.rows, opening.leaf, opening.index, opening.size, opening.path);
        if (_demands[dispute] != shown || !holds) revert WrongOpening(dispute);

        emit OpeningAnswered(dispute, task, opening.leaf);
        _decide(proposal, task, dispute, found, false, true);
    }

    /// @inheritdoc IDisputes
    function rule(
        Proposal calldata proposal,
        Agreement calldata agreement,
        bytes32 dispute,
        bool uphold,
        bytes32 reasons
    ) external {
        (bytes32 task, Dispute memory found) = _pending(proposal, agreement, dispute);
        if (block.timestamp > found.ruleBy) revert TooLate(task, found.ruleBy);
        uint8 bit = uint8(1 << _arbiter(proposal, agreement));
        if (found.voted & bit != 0) revert OpinionIsGiven(msg.sender);

        found.voted |= bit;
        if (uphold) ++found.upholding;
        else ++found.dismissing;
        emit OpinionGiven(dispute, task, msg.sender, uphold, reasons);
        uint256 arbiters = agreement.arbiters.length == 0 ? 1 : agreement.arbiters.length;
        _disputes[dispute] = found;
        if ((uphold ? found.upholding : found.dismissing) * 2 > arbiters) {
            _decide(proposal, task, dispute, found, uphold, false);
        }
    }

    /// @inheritdoc IDisputes
    function conclude(Proposal calldata proposal, Agreement calldata agreement, bytes32 dispute) external {
        (bytes32 task, Dispute memory found) = _pending(proposal, agreement, dispute);
        if (block.timestamp <= found.ruleBy) revert TooEarly(task, found.ruleBy);
        _decide(proposal, task, dispute, found, agreement.upheldByDefault, true);
    }

    /* BREACHES */

    /// @inheritdoc IDisputes
    function proveTwoStatements(
        Proposal calldata proposal,
        Agreement calldata agreement,
        address accused,
        SignedResult calldata one,
        SignedResult calldata other
    ) external {
        (bytes32 task,) = _inTime(proposal, agreement);
        if (one.result.task != task) revert WrongTask(one.result.task);
        if (other.result.task != task) revert WrongTask(other.result.task);
        bytes32 first = one.result.structHash();
        bytes32 second = other.result.structHash();
        if (one.result.attempt != other.result.attempt || first == second) revert NoContradiction();
        uint40 since = _since(proposal, task, one.result.attempt);
        _requireBound(accused, since, proofs.resultDigest(one.result), one.signature);
        _requireBound(accused, since, proofs.resultDigest(other.result), other.signature);
        _find(task, _party(proposal, accused), accused, Breach.TwoStatements, _pair(first, second));
    }

    /// @inheritdoc IDisputes
    function proveTwoDigests(
        Proposal calldata proposal,
        Agreement calldata agreement,
        SignedLink calldata one,
        SignedLink calldata other
    ) external {
        (bytes32 task,) = _inTime(proposal, agreement);
        LinkDigest calldata link = one.link;
        if (link.task != task) revert WrongTask(link.task);
        uint8 from = _party(proposal, link.from);
        uint8 to = _party(proposal, link.to);
        bytes32 evidence = _contradiction(one, other, _since(proposal, task, link.attempt));
        if (one.signer == other.signer) {
            _find(task, one.signer == link.from ? from : to, one.signer, Breach.TwoDigests, evidence);
        } else {
            emit LinkContradicted(task, link.from, link.to, link.attempt, evidence);
        }
    }

    /// @inheritdoc IDisputes
    function proveFalseOpening(
        Proposal calldata proposal,
        Agreement calldata agreement,
        Opening calldata opening,
        bytes calldata signature
    ) external {
        (bytes32 task,) = _inTime(proposal, agreement);
        if (opening.task != task) revert WrongTask(opening.task);
        uint8 place = _owner(proposal, opening.dataset);
        address owner = proposal.parties[place].account;
        _requireBound(owner, _since(proposal, task, 0), openingDigest(opening), signature);
        if (Rfc9162.included(opening.rows, opening.leaf, opening.index, opening.size, opening.path)) {
            revert OpeningHolds(opening.dataset);
        }
        _find(task, place, owner, Breach.FalseOpening, opening.structHash());
    }

    /// @inheritdoc IDisputes
    function proveLateness(Proposal calldata proposal, Agreement calldata agreement) external {
        (bytes32 id, uint24 posted) = _inTime(proposal, agreement);
        ITaskLedger.Task memory task = tasks.taskAt(id);
        if (task.state != ITaskLedger.State.Expired) revert WrongState(id, uint8(task.state));
        Verdict storage verdict = _verdicts[id];
        uint24 late;
        Breach breach = Breach.NoReport;
        if (task.startedAt != 0) {
            late = verdict.attempt == task.attempt ? ~uint24(verdict.reported) : type(uint24).max;
        } else if (task.attempt == 1) {
            late = ~(uint24(task.accepted) | verdict.willing);
            breach = Breach.NoAcceptance;
        }
        late &= posted & ~verdict.atFault & uint24((1 << proposal.parties.length) - 1);
        if (late == 0) revert NobodyLate(id);

        verdict.atFault |= late;
        for (uint256 i; i < proposal.parties.length; ++i) {
            if (late >> i & 1 == 1) emit BreachProved(id, proposal.parties[i].account, breach, bytes32(0), msg.sender);
        }
    }

    /* TENDERS */

    /// @inheritdoc IDisputes
    function tenderAcceptance(Proposal calldata proposal, address party, bytes calldata signature) external {
        bytes32 id = proposal.structHash();
        ITaskLedger.Task memory task = tasks.taskAt(id);
        if (task.state > ITaskLedger.State.Proposed) revert WrongState(id, uint8(task.state));
        if (task.attempt > 1) revert WrongAttempt(id, task.attempt);
        if (block.timestamp > proposal.acceptBy) revert TooLate(id, proposal.acceptBy);
        bytes32 digest = tasks.acceptanceDigest(id, proposal.spec, 1);
        _requireSigned(party, Scopes.ACCEPT, digest, signature);

        _verdicts[id].willing |= uint16(1 << _party(proposal, party));
        emit Tendered(id, party, 1, digest);
    }

    /// @inheritdoc IDisputes
    function tenderResult(Proposal calldata proposal, address party, SignedResult calldata signed) external {
        bytes32 id = proposal.structHash();
        if (signed.result.task != id) revert WrongTask(signed.result.task);
        _requireRunning(id, signed.result.attempt);
        _requireSigned(party, Scopes.SIGN, proofs.resultDigest(signed.result), signed.signature);

        _report(id, signed.result.attempt, _party(proposal, party));
        emit Tendered(id, party, signed.result.attempt, signed.result.structHash());
    }

    /// @inheritdoc IDisputes
    function tenderReport(Proposal calldata proposal, uint8 attempt, address accused, uint16 reason, bytes32 evidence)
        external
    {
        bytes32 id = proposal.structHash();
        uint256 place = Signatures.caller(participants, proposal.parties, Scopes.REPORT);
        if (place == proposal.parties.length) revert NotAParty(msg.sender);
        if (accused != address(0)) _party(proposal, accused);
        _requireRunning(id, attempt);

        _report(id, attempt, uint8(place));
        emit Reported(id, proposal.parties[place].account, accused, attempt, reason, evidence);
    }

    /* VIEWS */

    /// @inheritdoc IDisputes
    function verdictOf(bytes32 task) external view returns (Verdict memory) {
        return _verdicts[task];
    }

    /// @inheritdoc IDisputes
    function disputeAt(bytes32 dispute) external view returns (Dispute memory) {
        return _disputes[dispute];
    }

    /// @inheritdoc IDisputes
    function disputeId(bytes32 task, address challenger, address accused) public pure returns (bytes32) {
        return keccak256(abi.encode(task, challenger, accused));
    }

    /// @inheritdoc IDisputes
    function demandId(bytes32 task, address challenger, address accused) public pure returns (bytes32) {
        return keccak256(abi.encode(task, challenger, accused, OPENING_DEMANDED));
    }

    /// @inheritdoc IDisputes
    function standardAgreement(Proposal calldata proposal) public pure returns (Agreement memory standard) {
        standard.task = proposal.structHash();
        standard.disputeSeconds = STANDARD_DISPUTE;
        standard.rulingSeconds = STANDARD_RULING;
    }

    /// @inheritdoc IDisputes
    function linkDigest(LinkDigest calldata link) public view returns (bytes32) {
        return _hashTypedDataV4(link.structHash());
    }

    /// @inheritdoc IDisputes
    function openingDigest(Opening calldata opening) public view returns (bytes32) {
        return _hashTypedDataV4(opening.structHash());
    }

    /* RULES */

    /// @dev The agreement on record, or the standard one where none is. Who staked a bond under it.
    function _terms(Proposal calldata proposal, Agreement calldata agreement)
        private
        view
        returns (bytes32 task, uint24 posted, bool agreed)
    {
        task = proposal.structHash();
        bytes32 recorded;
        (recorded, posted) = settlement.termsOf(task);
        agreed = recorded != 0;
        if (agreement.structHash() != (recorded == 0 ? _standard(task) : recorded)) revert WrongTerms(task);
    }

    function _closes(bytes32 task, Proposal calldata proposal, Agreement calldata agreement)
        private
        view
        returns (uint40)
    {
        return settlement.closesAt(task, proposal.acceptBy, proposal.attempts, agreement.disputeSeconds);
    }

    function _standard(bytes32 task) private pure returns (bytes32) {
        return keccak256(
            abi.encode(
                TermsHash.AGREEMENT, task, address(0), 0, 0, STANDARD_DISPUTE, STANDARD_RULING, false, false,
                keccak256(""), keccak256(""), 0
            )
        );
    }

    function _raise(
        Proposal calldata proposal,
        Agreement calldata agreement,
        bytes32 dispute,
        address accused,
        uint16 reason,
        bytes32 evidence
    ) private {
        (bytes32 task, uint24 posted, bool agreed) = _terms(proposal, agreement);
        uint8 challenger = _place(proposal, msg.sender);
        uint8 place = accused == address(0) ? NO_ONE : _party(proposal, accused);
        uint40 closes = _closes(task, proposal, agreement);
        if (closes == 0) revert TaskNotEnded(task);
        if (block.timestamp > closes) revert TooLate(task, closes);
        if (agreement.bond != 0 && posted >> challenger & 1 == 0) revert BondMissing(msg.sender);
        if (!_bound(task, place, posted, agreed)) revert NotBound(accused);
        uint40 ruleBy = uint40(block.timestamp) + agreement.rulingSeconds;
        if (_disputes[dispute].outcome != Outcome.None) revert DisputeExists(dispute);

        _disputes[dispute] = Dispute(bytes20(task), Outcome.Pending, place, challenger, 0, 0, 0, ruleBy);
        ++_verdicts[task].pending;
        emit DisputeRaised(dispute, task, msg.sender, accused, reason, evidence, ruleBy);
    }

    /// @dev From when on an operator's signature about an attempt (zero: any) binds its party, though it was revoked since: from the
    /// start of the attempt (of any: of the first), where the ledger still knows it, else from the earliest time at which the task can
    /// have been proposed.
    function _since(Proposal calldata proposal, bytes32 id, uint8 attempt) private view returns (uint40) {
        ITaskLedger.Task memory task = tasks.taskAt(id);
        if (task.startedAt != 0 && task.attempt == (attempt == 0 ? 1 : attempt)) return task.startedAt;
        return proposal.acceptBy > MAX_WAIT ? proposal.acceptBy - MAX_WAIT : 0;
    }

    /// @dev A statement can be challenged when there is one. A party, when it undertook the agreement, or, where there is none, when it
    /// accepted the task: being named in a proposal binds nobody to that requester's arbiters, and neither does a node that accepts.
    function _bound(bytes32 id, uint8 place, uint24 posted, bool agreed) private view returns (bool) {
        ITaskLedger.Task memory task = tasks.taskAt(id);
        if (place == NO_ONE) return task.state == ITaskLedger.State.Proved;
        if (agreed) return posted >> place & 1 == 1;
        return task.startedAt != 0 || task.attempt > 1 || task.accepted >> place & 1 == 1;
    }

    /// @dev Breaches are proved until the time for disputes is over.
    function _inTime(Proposal calldata proposal, Agreement calldata agreement)
        private
        view
        returns (bytes32 task, uint24 posted)
    {
        (task, posted,) = _terms(proposal, agreement);
        uint40 closes = _closes(task, proposal, agreement);
        if (closes != 0 && block.timestamp > closes) revert TooLate(task, closes);
    }

    function _pending(Proposal calldata proposal, Agreement calldata agreement, bytes32 dispute)
        private
        view
        returns (bytes32 task, Dispute memory found)
    {
        (task,,) = _terms(proposal, agreement);
        found = _disputes[dispute];
        if (found.outcome == Outcome.None || found.task != bytes20(task)) revert DisputeUnknown(dispute);
        if (found.outcome != Outcome.Pending) revert DisputeIsDecided(dispute);
    }

    function _requireRunning(bytes32 id, uint8 attempt) private view {
        ITaskLedger.Task memory task = tasks.taskAt(id);
        if (task.state != ITaskLedger.State.Running) revert WrongState(id, uint8(task.state));
        if (task.attempt != attempt) revert WrongAttempt(id, attempt);
        if (block.timestamp > task.runBy) revert TooLate(id, task.runBy);
    }

    /// @dev The party was not silent in this attempt.
    function _report(bytes32 id, uint8 attempt, uint8 place) private {
        Verdict storage verdict = _verdicts[id];
        uint16 bit = uint16(1 << place);
        verdict.reported = verdict.attempt == attempt ? verdict.reported | bit : bit;
        verdict.attempt = attempt;
    }

    function _decide(
        Proposal calldata proposal,
        bytes32 task,
        bytes32 dispute,
        Dispute memory found,
        bool upheld,
        bool byDefault
    ) private {
        Verdict storage verdict = _verdicts[task];
        --verdict.pending;
        _disputes[dispute].outcome = upheld ? Outcome.Upheld : Outcome.Dismissed;
        bool statement = found.accused == NO_ONE;
        if (upheld && statement) verdict.void = true;
        if (upheld && !statement) verdict.atFault |= uint24(1 << found.accused);
        if (!upheld && !byDefault) verdict.forfeited |= uint24(1 << found.challenger);
        address accused = statement ? address(0) : proposal.parties[found.accused].account;
        emit DisputeDecided(dispute, task, accused, upheld, byDefault);
    }

    function _find(bytes32 task, uint8 place, address accused, Breach breach, bytes32 evidence) private {
        Verdict storage verdict = _verdicts[task];
        uint24 bit = uint24(1 << place);
        if (verdict.atFault & bit != 0) revert AlreadyAtFault(accused);

        verdict.atFault |= bit;
        emit BreachProved(task, accused, breach, evidence, msg.sender);
    }

    /// @dev Both are of the same messages of the same link, signed by its ends, and differ.
    function _contradiction(SignedLink calldata one, SignedLink calldata other, uint40 since)
        private
        view
        returns (bytes32)
    {
        LinkDigest calldata a = one.link;
        LinkDigest calldata b = other.link;
        bool same = a.task == b.task && a.attempt == b.attempt && a.from == b.from && a.to == b.to
            && a.messages == b.messages;
        bool ends = (one.signer == a.from || one.signer == a.to) && (other.signer == a.from || other.signer == a.to);
        if (!same || !ends || (a.digest == b.digest && a.size == b.size)) revert NoContradiction();
        _requireBound(one.signer, since, linkDigest(a), one.signature);
        _requireBound(other.signer, since, linkDigest(b), other.signature);
        return _pair(a.structHash(), b.structHash());
    }

    /// @dev The same whichever comes first.
    function _pair(bytes32 one, bytes32 other) private pure returns (bytes32) {
        return one < other ? keccak256(abi.encode(one, other)) : keccak256(abi.encode(other, one));
    }

    function _requireSigned(address account, uint16 scope, bytes32 digest, bytes calldata signature) private view {
        if (!Signatures.signedFor(participants, account, scope, digest, signature)) revert BadSignature(account);
    }

    /// @dev Evidence: what an operator signed binds its party, be it revoked or not.
    function _requireBound(address account, uint40 since, bytes32 digest, bytes calldata signature) private view {
        if (!Signatures.boundBy(participants, account, since, digest, signature)) revert BadSignature(account);
    }

    /// @dev Where no arbiters are named the governor judges, but not its own case.
    function _arbiter(Proposal calldata proposal, Agreement calldata agreement) private view returns (uint256) {
        for (uint256 i; i < agreement.arbiters.length; ++i) {
            if (agreement.arbiters[i] == msg.sender) return i;
        }
        bool judges = agreement.arbiters.length == 0 && msg.sender == participants.governor();
        if (!judges || _takesPart(proposal, msg.sender)) revert NotAnArbiter(msg.sender);
        return 0;
    }

    function _party(Proposal calldata proposal, address account) private pure returns (uint8) {
        for (uint8 i; i < proposal.parties.length; ++i) {
            if (proposal.parties[i].account == account) return i;
        }
        revert NotAParty(account);
    }

    function _takesPart(Proposal calldata proposal, address account) private pure returns (bool) {
        for (uint256 i; i < proposal.parties.length; ++i) {
            if (proposal.parties[i].account == account) return true;
        }
        return account == proposal.requester;
    }

    /// @dev The place of the party that has its part in the task by this dataset.
    function _owner(Proposal calldata proposal, bytes32 dataset) private pure returns (uint8) {
        for (uint8 i; i < proposal.parties.length; ++i) {
            if (dataset != 0 && proposal.parties[i].dataset == dataset) return i;
        }
        revert NotAParty(address(0));
    }

    function _place(Proposal calldata proposal, address account) private pure returns (uint8) {
        for (uint8 i; i < proposal.parties.length; ++i) {
            if (proposal.parties[i].account == account) return i;
        }
        if (account == proposal.requester) return REQUESTER;
        revert NotAParty(account);
    }
}
