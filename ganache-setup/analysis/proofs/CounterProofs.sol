// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.20;

import {AuditLog} from "../src/AuditLog.sol";
import {GrantLedger} from "../src/GrantLedger.sol";
import {TaskLedger} from "../src/TaskLedger.sol";
import {IAuditLog} from "../src/interfaces/IAuditLog.sol";
import {IDatasetRegistry} from "../src/interfaces/IDatasetRegistry.sol";
import {IGrantLedger} from "../src/interfaces/IGrantLedger.sol";
import {IParticipantRegistry} from "../src/interfaces/IParticipantRegistry.sol";
import {IProofRegistry} from "../src/interfaces/IProofRegistry.sol";
import {ITaskLedger} from "../src/interfaces/ITaskLedger.sol";
import {Narrowing} from "../src/types/Terms.sol";
import {Grant, Party, Proposal} from "../src/types/Types.sol";
import {Proof} from "./Proof.sol";

/// @notice That what was used of a grant is counted, and never passes its ceilings.
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

    /// @notice A revocation forgets nothing of what was used, and nothing is debited after it.
    function check_a_revocation_forgets_nothing_and_ends_debits(
        uint32 uses, uint32 used, uint64 budget, uint64 spent, uint32 more, uint64 epsilon
    ) public {
        Grant memory grant;
        grant.grantee = address(this);
        bytes32 id = ledger.grantId(grant);
        _set(id, keccak256(abi.encode(bytes32(0), bytes32(0))), uses, used, budget, spent);
        ledger.revoke(grant);
        IGrantLedger.Account memory found = ledger.accountOf(id);
        assert(found.used == used && found.uses == uses && found.spentMicros == spent && found.epsilonMicros == budget);
        try ledger.debit(id, 0, 0, address(this), 0, 1, more, epsilon) {
            assert(false);
        } catch {}
    }
}

/// @notice That attempts are counted and end, and that what has ended stays ended. For tasks of one party, which is a contract.
contract TaskLedgerProof is Proof {
    uint256 private constant TASKS = 2; // contracts/snapshots/layout.json
    TaskLedger private ledger;

    function setUp() public {
        ledger = new TaskLedger(
            IParticipantRegistry(address(this)),
            IDatasetRegistry(address(this)),
            IGrantLedger(address(this)),
            IProofRegistry(address(this))
        );
    }

    function requireActive(address, uint16) external view {}

    function isValidSignature(bytes32, bytes calldata) external pure returns (bytes4) {
        return this.isValidSignature.selector;
    }

    function _propose(uint8 state, uint8 attempt, uint16 accepted, uint40 startedAt, uint40 runBy, uint8 attempts)
        private
        returns (Proposal memory proposal, bytes32 id)
    {
        vm.assume(state > uint8(ITaskLedger.State.None) && state <= uint8(ITaskLedger.State.Expired));
        proposal.requester = address(this);
        proposal.parties = new Party[](1);
        proposal.parties[0].account = address(this);
        (proposal.acceptBy, proposal.runSeconds, proposal.attempts) = (uint40(block.timestamp), 1, attempts);
        id = ledger.taskId(proposal);
        uint256 packed = uint256(runBy) << 72 | uint256(startedAt) << 32 | uint256(accepted) << 16 | uint256(attempt) << 8 | state;
        vm.store(address(ledger), keccak256(abi.encode(id, TASKS)), bytes32(packed));
    }

    function _accept(Proposal memory proposal, uint8 attempt) private {
        ledger.accept(proposal, attempt, new uint8[](1), new bytes[](1), new bytes32[](1));
    }

    /// @notice An acceptance opens at most the next attempt, and that only after a failure and while the proposal has one left.
    function check_attempts_are_counted_and_end(
        uint8 state, uint8 attempt, uint16 accepted, uint40 startedAt, uint40 runBy, uint8 attempts, uint8 given
    ) public {
        (Proposal memory proposal, bytes32 id) = _propose(state, attempt, accepted, startedAt, runBy, attempts);
        vm.assume(attempt != 0 && attempt <= attempts);
        _accept(proposal, given);
        ITaskLedger.Task memory task = ledger.taskAt(id);
        assert(task.attempt == given && task.attempt <= attempts);
        assert(state == uint8(ITaskLedger.State.Failed) ? given == attempt + 1 : given == attempt);
    }

    /// @notice A task that is proved, cancelled or expired takes no step any more, whoever calls.
    function check_what_has_ended_stays_ended(
        uint8 state, uint8 attempt, uint16 accepted, uint40 startedAt, uint40 runBy, uint8 attempts, uint8 given, uint8 step
    ) public {
        (Proposal memory proposal, bytes32 id) = _propose(state, attempt, accepted, startedAt, runBy, attempts);
        vm.assume(state != uint8(ITaskLedger.State.Proposed) && state != uint8(ITaskLedger.State.Running));
        vm.assume(state != uint8(ITaskLedger.State.Failed));
        if (step == 0) ledger.propose(proposal);
        else if (step == 1) _accept(proposal, given);
        else if (step == 2) ledger.cancel(proposal);
        else if (step == 3) ledger.fail(proposal, given, address(0), 0, 0);
        else if (step == 4) ledger.expire(proposal);
        else if (step == 5) ledger.prove(id, given, 0, 0);
        else return;
        assert(false);
    }
}

/// @notice That the log of an account only grows.
contract AuditLogProof is Proof {
    uint256 private constant HEADS = 0; // contracts/snapshots/layout.json
    AuditLog private log;

    function setUp() public {
        log = new AuditLog(IParticipantRegistry(address(this)));
    }

    function requireActive(address, uint16) external view {}

    function actsFor(address, address, uint16) external pure returns (bool) {
        return true;
    }

    /// @notice Whoever anchors a head, itself or for another, the head after it is that of a longer log.
    function check_a_log_only_grows(address account, bytes32 before, uint64 size, uint40 at, bytes32 root, uint64 to) public {
        uint256 slot = uint256(keccak256(abi.encode(account, HEADS)));
        vm.store(address(log), bytes32(slot), before);
        vm.store(address(log), bytes32(slot + 1), bytes32(uint256(at) << 64 | size));
        if (account == address(this)) log.anchor(root, to);
        else log.anchorFor(account, root, to);
        IAuditLog.Head memory head = log.headOf(account);
        assert(head.size > size && head.size == to && head.root == root);
    }
}
