// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.20;

import {Settlement} from "../src/Settlement.sol";
import {IDisputes} from "../src/interfaces/IDisputes.sol";
import {IParticipantRegistry} from "../src/interfaces/IParticipantRegistry.sol";
import {IProofRegistry} from "../src/interfaces/IProofRegistry.sol";
import {ISettlement} from "../src/interfaces/ISettlement.sol";
import {ITaskLedger} from "../src/interfaces/ITaskLedger.sol";
import {StructHash} from "../src/libraries/StructHash.sol";
import {Agreement} from "../src/types/Terms.sol";
import {Party, Proposal} from "../src/types/Types.sol";
import {Proof} from "./Proof.sol";

/// @notice That Settlement holds what it owes. Owed under an agreement are, while it is open, its fee and the bonds that were staked; once it
/// is settled, those of its amounts that were not claimed. The lemmas say that each function changes what the contract holds by exactly
/// the change of what is owed, and that the amounts of a settled agreement add up to its fee and its bonds: so everybody's claims empty it.
/// @dev For two parties and a requester that is none or the second of them. What other contracts answer is arbitrary; fee, bond, shares,
/// price and uses have their full width. Divisions are uninterpreted: sums are exact whatever they come to. Where a function reverts
/// it moves nothing, and nothing is said about when it does.
contract SettlementProof is Proof {
    uint256 private constant ESCROWS = 3; // contracts/snapshots/layout.json
    uint256 private constant REQUESTER = 16;
    Settlement private settlement;

    // What the contracts around it answer, and a token that moves what it wants when it is paid in.
    ITaskLedger.Task private task;
    IProofRegistry.Proof private proof;
    IDisputes.Verdict private verdict;
    address public governor;
    bool private acting;
    uint256 private moved;
    uint256 private tokens;

    function setUp() public {
        settlement = new Settlement(
            IParticipantRegistry(address(this)), ITaskLedger(address(this)), IProofRegistry(address(this)), IDisputes(address(this))
        );
    }

    function taskAt(bytes32) external view returns (ITaskLedger.Task memory) {
        return task;
    }

    function proofOf(bytes32) external view returns (IProofRegistry.Proof memory) {
        return proof;
    }

    function verdictOf(bytes32) external view returns (IDisputes.Verdict memory) {
        return verdict;
    }

    function actsFor(address, address, uint16) external view returns (bool) {
        return acting;
    }

    function balanceOf(address) external view returns (uint256) {
        return tokens;
    }

    function transferFrom(address, address, uint256) external returns (bool) {
        tokens += moved;
        return true;
    }

    function transfer(address, uint256 amount) external returns (bool) {
        tokens -= amount;
        return true;
    }

    /// @notice Who takes part, and what was agreed.
    struct Bargain {
        bool[3] mine; // whether the first party, the second and the requester are the caller
        bool own; // the requester is the second party
        bool inTokens;
        uint128 fee;
        uint128 bond;
        uint16 share; // of the first party
    }

    /// @notice What became of the first party, the second and the requester.
    struct State {
        bool paid;
        bool[3] posted;
        bool[3] lost;
        bool[2] denied;
    }

    /* LEMMAS */

    /// @notice Opening an agreement takes its fee, and nothing else is owed yet.
    function check_opening_takes_the_fee(Bargain memory bargain, ITaskLedger.Task memory found, uint256 value, uint256 moves)
        public
    {
        bargain.mine = [false, false, true];
        bargain.own = false;
        (Proposal memory proposal, Agreement memory agreement) = _shared(bargain);
        (task, moved) = (found, moves);
        _fund(value, 0);
        settlement.open{value: value}(proposal, agreement);
        assert(_held(bargain) == bargain.fee);
        assert(_load(agreement, 0) == settlement.agreementId(agreement));
        assert(uint256(_load(agreement, 1)) == uint256(ISettlement.Stage.Open));
    }

    /// @notice Staking takes one bond, and one more is owed.
    function check_staking_takes_a_bond(
        Bargain memory bargain, uint24 posted, ITaskLedger.Task memory found, uint256 value, uint256 moves, bool acts
    ) public {
        (Proposal memory proposal, Agreement memory agreement) = _shared(bargain);
        (task, moved, acting) = (found, moves, acts);
        uint256 packed = uint256(posted) << 16 | uint256(ISettlement.Stage.Open);
        _store(agreement, packed);
        _fund(value, 0);
        settlement.post{value: value}(proposal, agreement);
        uint256 place = REQUESTER;
        if (proposal.parties[1].account == address(this)) place = 1;
        else if (acts && proposal.requester != address(this)) place = 0;
        if (proposal.parties[0].account == address(this)) place = 0;
        assert(_held(bargain) == bargain.bond);
        assert(posted >> place & 1 == 0);
        assert(uint256(_load(agreement, 1)) == packed | 1 << 16 + place);
    }

    /// @notice Settling moves nothing and forgets no bond; only who staked loses one, only parties are denied a share. Amounts play no part,
    /// and places one like the other: of one party and its requester.
    function check_settling_moves_nothing(
        ITaskLedger.Task memory found,
        IProofRegistry.Proof memory shown,
        IDisputes.Verdict memory spoken,
        bool bonded,
        uint24 posted,
        uint40 time
    ) public {
        Bargain memory bargain;
        bargain.bond = bonded ? 1 : 0;
        (Proposal memory proposal, Agreement memory agreement) = _bargain(bargain);
        proposal.parties = new Party[](1);
        agreement.shares = new uint16[](1);
        agreement.task = this.taskId(proposal);
        (task, proof, verdict) = (found, shown, spoken);
        vm.warp(time);
        _store(agreement, uint256(posted) << 16 | uint256(ISettlement.Stage.Open));
        _fund(0, type(uint128).max);
        settlement.settle(proposal, agreement);
        assert(_held(bargain) == type(uint128).max);
        uint256 packed = uint256(_load(agreement, 1));
        assert(packed & 0xfe == uint256(ISettlement.Stage.Paid)); // or Returned
        assert(uint24(packed >> 16) == posted);
        assert(uint24(packed >> 40) & ~posted == 0);
        assert(uint24(packed >> 64) & ~uint24(1) == 0);
        assert(uint24(packed >> 88) == 0);
    }

    /// @notice The amounts of a settled agreement with shares add up to its fee and its bonds, whoever staked, lost, or is denied a share.
    function check_shares_add_up_to_fee_and_bonds(Bargain memory bargain, State memory state) public {
        (bargain.mine, bargain.inTokens) = ([false, false, false], false);
        (Proposal memory proposal, Agreement memory agreement) = _shared(bargain);
        _addsUp(proposal, agreement, bargain.own, state, 0);
    }

    /// @notice The same of shares that were measured, where nobody lost its bond.
    function check_measured_shares_add_up_to_fee_and_bonds(Bargain memory bargain, State memory state, uint32 contributions) public {
        (bargain.mine, bargain.inTokens, state.lost) = ([false, false, false], false, [false, false, false]);
        (Proposal memory proposal, Agreement memory agreement) = _shared(bargain);
        vm.store(address(settlement), bytes32(_slot(agreement) + 2), bytes32(uint256(contributions)));
        _addsUp(proposal, agreement, bargain.own, state, 1 << 8);
    }

    /// @notice The same where each use has a price, which the fee may not suffice for, and nobody lost its bond.
    function check_metered_uses_add_up_to_fee_and_bonds(
        Bargain memory bargain, State memory state, uint8 attempts, uint128 price, uint32 uses, uint32 others
    ) public {
        vm.assume(price != 0);
        (bargain.mine, bargain.inTokens, state.lost) = ([false, false, false], false, [false, false, false]);
        (Proposal memory proposal, Agreement memory agreement) = _bargain(bargain);
        agreement.price = price;
        (proposal.parties[0].uses, proposal.parties[1].uses) = (uses, others);
        agreement.task = this.taskId(proposal);
        _addsUp(proposal, agreement, bargain.own, state, uint256(attempts) << 112);
    }

    /// @notice A claim pays those of the caller's amounts that were not claimed, notes that, and changes nothing else. Amounts play no part:
    /// all staked and the requester lost its bond, so that they are 11,400, 89,402, 1 and 100, of which no two sets are worth the same.
    function check_a_claim_pays_what_is_owed_once(
        bool[3] memory mine, bool inTokens, bool[4] memory claimed, bool governing
    ) public {
        if (inTokens) claimed = [false, false, false, false]; // the token is met last
        Bargain memory bargain = Bargain(mine, false, inTokens, 100_003, 300, 1100);
        (Proposal memory proposal, Agreement memory agreement) = _shared(bargain);
        governor = governing ? address(this) : address(0xd);
        uint256 packed = (3 | 1 << REQUESTER) << 16 | 1 << 40 + REQUESTER | uint256(ISettlement.Stage.Paid);
        for (uint256 i; i < 4; ++i) {
            if (claimed[i]) packed |= 1 << 88 + _place(i);
        }
        _store(agreement, packed);
        uint256[] memory amounts = settlement.payouts(proposal, agreement);
        _fund(0, type(uint64).max);
        settlement.claim(proposal, agreement, address(0xbeef));
        uint256 noted = packed;
        uint256 paid;
        for (uint256 i; i < 4; ++i) {
            if (claimed[i] || amounts[i] == 0 || !(i == 3 ? governing : mine[i])) continue;
            noted |= 1 << 88 + _place(i);
            paid += amounts[i];
        }
        assert(uint256(_load(agreement, 1)) == noted);
        assert(_held(bargain) == type(uint64).max - paid);
    }

    /* STATES */

    function _addsUp(Proposal memory proposal, Agreement memory agreement, bool own, State memory state, uint256 packed) private {
        packed |= uint256(state.paid ? ISettlement.Stage.Paid : ISettlement.Stage.Returned);
        uint256 owed = agreement.fee;
        for (uint256 i; i < (own ? 2 : 3); ++i) {
            if (i < 2 && state.paid && state.denied[i]) packed |= 1 << 64 + i;
            if (!state.posted[i]) continue;
            packed |= 1 << 16 + _place(i);
            owed += agreement.bond;
            if (state.lost[i]) packed |= 1 << 40 + _place(i);
        }
        _store(agreement, packed);
        uint256[] memory amounts = settlement.payouts(proposal, agreement);
        unchecked {
            assert(amounts[0] + amounts[1] + amounts[2] + amounts[3] == owed);
        }
    }

    function _place(uint256 amount) private pure returns (uint256) {
        return amount < 2 ? amount : REQUESTER - 2 + amount;
    }

    function _bargain(Bargain memory bargain) private view returns (Proposal memory proposal, Agreement memory agreement) {
        proposal.parties = new Party[](2);
        proposal.parties[0].account = bargain.mine[0] ? address(this) : address(0xa);
        proposal.parties[1].account = bargain.mine[1] ? address(this) : address(0xb);
        if (bargain.own) proposal.requester = proposal.parties[1].account;
        else proposal.requester = bargain.mine[2] ? address(this) : address(0xc);
        proposal.acceptBy = uint40(block.timestamp);
        (agreement.disputeSeconds, agreement.rulingSeconds) = (1, 1);
        if (bargain.inTokens) agreement.token = address(this);
        (agreement.fee, agreement.bond) = (bargain.fee, bargain.bond);
    }

    function _shared(Bargain memory bargain) private returns (Proposal memory proposal, Agreement memory agreement) {
        (proposal, agreement) = _bargain(bargain);
        vm.assume(bargain.share <= 10_000);
        agreement.shares = new uint16[](2);
        (agreement.shares[0], agreement.shares[1]) = (bargain.share, 10_000 - bargain.share);
        agreement.task = this.taskId(proposal);
    }

    function taskId(Proposal calldata proposal) external pure returns (bytes32) {
        return StructHash.structHash(proposal);
    }

    function _slot(Agreement memory agreement) private pure returns (uint256) {
        return uint256(keccak256(abi.encode(agreement.task, ESCROWS)));
    }

    function _store(Agreement memory agreement, uint256 packed) private {
        vm.store(address(settlement), bytes32(_slot(agreement)), settlement.agreementId(agreement));
        vm.store(address(settlement), bytes32(_slot(agreement) + 1), bytes32(packed));
    }

    function _load(Agreement memory agreement, uint256 word) private view returns (bytes32) {
        return vm.load(address(settlement), bytes32(_slot(agreement) + word));
    }

    /// @dev The caller's coins, and what the settlement contract holds of them and of the token.
    function _fund(uint256 coins, uint256 held) private {
        vm.deal(address(this), coins);
        vm.deal(address(settlement), held);
        tokens = held;
    }

    function _held(Bargain memory bargain) private view returns (uint256) {
        return bargain.inTokens ? tokens : address(settlement).balance;
    }
}
