// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.20;

import {GrantLedger} from "../src/GrantLedger.sol";
import {Settlement} from "../src/Settlement.sol";
import {IDatasetRegistry} from "../src/interfaces/IDatasetRegistry.sol";
import {IDisputes} from "../src/interfaces/IDisputes.sol";
import {IGrantLedger} from "../src/interfaces/IGrantLedger.sol";
import {IParticipantRegistry} from "../src/interfaces/IParticipantRegistry.sol";
import {IProofRegistry} from "../src/interfaces/IProofRegistry.sol";
import {ITaskLedger} from "../src/interfaces/ITaskLedger.sol";
import {StructHash} from "../src/libraries/StructHash.sol";
import {Agreement, Narrowing} from "../src/types/Terms.sol";
import {Grant, Party, Proposal} from "../src/types/Types.sol";

interface Vm {
    function assume(bool condition) external;
    function store(address target, bytes32 slot, bytes32 value) external;
}

/// @title What halmos proves, for every value of the arguments at once. Storage is set as the contract could have left it.
abstract contract Proof {
    Vm internal constant vm = Vm(0x7109709ECfa91a80626fF3989D68f67F5b1DD12D);
}

contract GrantLedgerProof is Proof {
    uint256 private constant ACCOUNTS = 2; // contracts/snapshots/layout.json
    GrantLedger private ledger;

    function setUp() public {
        ledger = new GrantLedger(IParticipantRegistry(address(this)), IDatasetRegistry(address(this)), address(this));
    }

    /// @dev Every dataset is this contract's.
    function datasetAt(bytes32) external view returns (IDatasetRegistry.Dataset memory dataset) {
        dataset.owner = address(this);
    }

    function _set(bytes32 id, bytes32 binding, uint32 uses, uint32 used, uint64 budget, uint64 spent) private {
        vm.assume(used <= uses && spent <= budget);
        uint256 slot = uint256(keccak256(abi.encode(id, ACCOUNTS)));
        vm.store(address(ledger), bytes32(slot), bytes32(uint256(used) << 192 | uint256(uses) << 160 | uint160(address(this))));
        vm.store(address(ledger), bytes32(slot + 1), binding);
        vm.store(
            address(ledger),
            bytes32(slot + 2),
            bytes32(uint256(spent) << 144 | uint256(budget) << 80 | uint256(type(uint40).max) << 40)
        );
    }

    /// @notice A debit adds what it says and passes no ceiling.
    function check_a_debit_stays_below_its_ceilings(
        uint32 uses, uint32 used, uint64 budget, uint64 spent, uint32 more, uint64 epsilon
    ) public {
        bytes32 id = keccak256("grant");
        _set(id, keccak256(abi.encode(bytes32(uint256(1)), bytes32(uint256(2)))), uses, used, budget, spent);
        ledger.debit(id, bytes32(uint256(1)), bytes32(uint256(2)), address(this), 0, 1, more, epsilon);
        IGrantLedger.Account memory found = ledger.accountOf(id);
        assert(found.used == uint256(used) + more && found.used <= uses && found.uses == uses);
        assert(found.spentMicros == uint256(spent) + epsilon && found.spentMicros <= budget && found.epsilonMicros == budget);
    }

    /// @notice A narrowing lowers ceilings, never below what was used, and forgets nothing of it.
    function check_a_narrowing_only_lowers(
        uint32 uses, uint32 used, uint64 budget, uint64 spent, uint32 toUses, uint64 toBudget, uint40 until
    ) public {
        Grant memory grant;
        grant.grantee = address(this);
        bytes32 id = ledger.grantId(grant);
        _set(id, 0, uses, used, budget, spent);
        ledger.narrow(grant, Narrowing(id, toUses, toBudget, until), "");
        IGrantLedger.Account memory found = ledger.accountOf(id);
        assert(found.used == used && found.uses >= used && found.uses <= uses && (found.uses == toUses || found.uses == used));
        assert(found.spentMicros == spent && found.epsilonMicros >= spent && found.epsilonMicros <= budget);
        assert(found.notAfter == until && found.notBefore == 0);
    }
}

contract SettlementProof is Proof {
    uint256 private constant ESCROWS = 3; // contracts/snapshots/layout.json
    uint256 private constant REQUESTER = 16;
    Settlement private settlement;

    function setUp() public {
        settlement = new Settlement(
            IParticipantRegistry(address(this)), ITaskLedger(address(this)), IProofRegistry(address(this)), IDisputes(address(this))
        );
    }

    /// @notice How a task was settled.
    struct Outcome {
        bool paid;
        bool measured;
        bool own; // the requester is the second party
        uint24 posted;
        uint24 lost;
        uint24 denied;
        uint8 attempts;
        uint256 contributions;
    }

    /// @notice Whatever was staked and lost, whoever is denied its share: what can be claimed is fee and bonds, to the last coin.
    /// Of two parties, and a requester that is none or the second of them; for fees and bonds below 2**16, since solvers do not get
    /// through divisions of wide numbers. Stated and not yet proved: a quarter of an hour on a busy machine was not enough.
    function check_what_is_claimed_is_fee_and_bonds(Outcome memory outcome, uint16 fee, uint16 bond, uint16 share) public {
        vm.assume(share <= 10_000);
        (Proposal memory proposal, Agreement memory agreement) = _bargain(outcome.own, fee, bond);
        agreement.shares = new uint16[](2);
        (agreement.shares[0], agreement.shares[1]) = (share, 10_000 - share);
        _holds(proposal, agreement, outcome);
    }

    /// @notice The same where each use has a price, which the fee may not suffice for.
    function check_what_is_claimed_of_metered_uses_is_fee_and_bonds(
        Outcome memory outcome, uint16 fee, uint16 bond, uint16 price, uint8 uses
    ) public {
        vm.assume(price != 0 && uses != 0 && outcome.attempts <= 16);
        (Proposal memory proposal, Agreement memory agreement) = _bargain(outcome.own, fee, bond);
        agreement.price = price;
        (proposal.parties[0].uses, proposal.parties[1].uses) = (uses, 3);
        _holds(proposal, agreement, outcome);
    }

    function _bargain(bool own, uint16 fee, uint16 bond)
        private
        pure
        returns (Proposal memory proposal, Agreement memory agreement)
    {
        proposal.parties = new Party[](2);
        proposal.parties[0].account = address(1);
        proposal.parties[1].account = address(2);
        proposal.requester = own ? address(2) : address(3);
        (agreement.fee, agreement.bond) = (fee, bond);
    }

    function _packed(Outcome memory outcome) private pure returns (uint256 packed) {
        packed = uint256(outcome.attempts) << 112 | uint256(outcome.denied) << 64 | uint256(outcome.lost) << 40;
        packed |= uint256(outcome.posted) << 16 | (outcome.measured ? 1 << 8 : 0) | uint256(outcome.paid ? 2 : 3);
    }

    function _holds(Proposal memory proposal, Agreement memory agreement, Outcome memory outcome) private {
        vm.assume(outcome.posted & ~uint24(outcome.own ? 3 : 3 | 1 << REQUESTER) == 0);
        vm.assume(outcome.lost & ~outcome.posted == 0);
        uint256 slot = uint256(keccak256(abi.encode(_taskOf(proposal), ESCROWS)));
        vm.store(address(settlement), bytes32(slot), settlement.agreementId(agreement));
        vm.store(address(settlement), bytes32(slot + 1), bytes32(_packed(outcome)));
        vm.store(address(settlement), bytes32(slot + 2), bytes32(outcome.contributions));
        uint256[] memory amounts = settlement.payouts(proposal, agreement);
        uint256 stakes = (outcome.posted & 1) + (outcome.posted >> 1 & 1) + (outcome.posted >> REQUESTER & 1);
        assert(amounts[0] + amounts[1] + amounts[2] + amounts[3] == uint256(agreement.fee) + agreement.bond * stakes);
    }

    function _taskOf(Proposal memory proposal) private view returns (bytes32) {
        return this.taskId(proposal);
    }

    function taskId(Proposal calldata proposal) external pure returns (bytes32) {
        return StructHash.structHash(proposal);
    }
}
