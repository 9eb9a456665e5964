// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.20;

import {EIP712} from "@openzeppelin/contracts/utils/cryptography/EIP712.sol";
import {IDatasetRegistry} from "./interfaces/IDatasetRegistry.sol";
import {IGrantLedger} from "./interfaces/IGrantLedger.sol";
import {IParticipantRegistry} from "./interfaces/IParticipantRegistry.sol";
import {Signatures} from "./libraries/Signatures.sol";
import {StructHash} from "./libraries/StructHash.sol";
import {TermsHash} from "./libraries/TermsHash.sol";
import {Narrowing} from "./types/Terms.sol";
import {Grant, Roles} from "./types/Types.sol";

/// @title Authorisations to use data, and what has been used of them.
contract GrantLedger is IGrantLedger, EIP712 {
    using StructHash for Grant;

    IParticipantRegistry public immutable participants;
    IDatasetRegistry public immutable datasets;
    address public immutable tasks;

    mapping(bytes32 grant => Account) private _accounts;

    constructor(IParticipantRegistry participants_, IDatasetRegistry datasets_, address tasks_)
        EIP712("Tallystick GrantLedger", "1")
    {
        participants = participants_;
        datasets = datasets_;
        tasks = tasks_;
    }

    /// @inheritdoc IGrantLedger
    function issue(Grant calldata grant, bytes calldata signature) external returns (bytes32 id) {
        id = grant.structHash();
        if (_accounts[id].grantee != address(0)) {
            if (_accounts[id].revoked) revert GrantIsRevoked(id);
            revert GrantExists(id);
        }
        if (grant.uses == 0 || grant.grantee == address(0)) revert NoUses();
        if (grant.notAfter <= grant.notBefore || grant.notAfter < block.timestamp) {
            revert BadGrantValidity(grant.notBefore, grant.notAfter);
        }
        address owner = datasets.requireUsable(grant.dataset);
        participants.requireActive(owner, Roles.DATA_PROVIDER);
        if (!Signatures.signed(owner, _hashTypedDataV4(id), signature)) {
            revert BadOwnerSignature(grant.dataset, owner);
        }

        _accounts[id] = Account({
            grantee: grant.grantee,
            uses: grant.uses,
            used: 0,
            revoked: false,
            binding: keccak256(abi.encode(grant.dataset, grant.terms)),
            notBefore: grant.notBefore,
            notAfter: grant.notAfter,
            epsilonMicros: grant.epsilonMicros,
            spentMicros: 0
        });
        emit Granted(
            id,
            grant.dataset,
            grant.grantee,
            grant.terms,
            grant.uses,
            grant.epsilonMicros,
            grant.notBefore,
            grant.notAfter
        );
    }

    /// @inheritdoc IGrantLedger
    function revoke(Grant calldata grant) external {
        address owner = datasets.datasetAt(grant.dataset).owner;
        if (owner != msg.sender) revert NotTheDatasetOwner(grant.dataset, msg.sender);
        _revoke(grant, owner);
    }

    /// @inheritdoc IGrantLedger
    function revokeSigned(Grant calldata grant, bytes calldata signature) external {
        address owner = datasets.datasetAt(grant.dataset).owner;
        if (!Signatures.signed(owner, revocationDigest(grant.structHash()), signature)) {
            revert BadOwnerSignature(grant.dataset, owner);
        }
        _revoke(grant, owner);
    }

    /// @inheritdoc IGrantLedger
    function narrow(Grant calldata grant, Narrowing calldata narrowing, bytes calldata signature) external {
        bytes32 id = grant.structHash();
        Account storage account = _accounts[id];
        if (account.grantee == address(0) || narrowing.grant != id) revert UnknownGrant(narrowing.grant);
        address owner = datasets.datasetAt(grant.dataset).owner;
        if (owner != msg.sender && !Signatures.signed(owner, narrowingDigest(narrowing), signature)) {
            revert BadOwnerSignature(grant.dataset, owner);
        }
        if (account.revoked) revert GrantIsRevoked(id);
        uint32 uses = narrowing.uses < account.used ? account.used : narrowing.uses;
        uint64 budget = narrowing.epsilonMicros < account.spentMicros ? account.spentMicros : narrowing.epsilonMicros;
        if (uses > account.uses || budget > account.epsilonMicros || narrowing.notAfter > account.notAfter) {
            revert NotNarrower(id);
        }

        account.uses = uses;
        account.epsilonMicros = budget;
        account.notAfter = narrowing.notAfter;
        emit GrantNarrowed(id, owner, uses, budget, narrowing.notAfter);
    }

    /// @inheritdoc IGrantLedger
    function debit(
        bytes32 grant,
        bytes32 dataset,
        bytes32 terms,
        address requester,
        bytes32 task,
        uint8 attempt,
        uint32 uses,
        uint64 epsilonMicros
    ) external {
        if (msg.sender != tasks) revert OnlyTaskLedger(msg.sender);
        Account storage account = _accounts[grant];
        if (account.grantee == address(0)) revert UnknownGrant(grant);
        if (account.revoked) revert GrantIsRevoked(grant);
        if (block.timestamp < account.notBefore || block.timestamp > account.notAfter) {
            revert GrantOutsideValidity(grant, account.notBefore, account.notAfter);
        }
        if (account.grantee != requester) revert NotTheGrantee(grant, requester);
        if (account.binding != keccak256(abi.encode(dataset, terms))) revert WrongDataset(grant, dataset);
        if (uses > account.uses - account.used) revert GrantUsedUp(grant, account.uses);
        if (epsilonMicros > account.epsilonMicros - account.spentMicros) {
            revert BudgetExceeded(grant, account.epsilonMicros, account.spentMicros);
        }

        account.used += uses;
        if (epsilonMicros != 0) account.spentMicros += epsilonMicros;
        emit Debited(grant, task, attempt, account.used, account.spentMicros);
    }

    /// @inheritdoc IGrantLedger
    function accountOf(bytes32 grant) external view returns (Account memory) {
        return _accounts[grant];
    }

    /// @inheritdoc IGrantLedger
    function grantId(Grant calldata grant) external pure returns (bytes32) {
        return grant.structHash();
    }

    /// @inheritdoc IGrantLedger
    function grantDigest(Grant calldata grant) external view returns (bytes32) {
        return _hashTypedDataV4(grant.structHash());
    }

    /// @inheritdoc IGrantLedger
    function revocationDigest(bytes32 grant) public view returns (bytes32) {
        return _hashTypedDataV4(TermsHash.revocation(grant));
    }

    /// @inheritdoc IGrantLedger
    function narrowingDigest(Narrowing calldata narrowing) public view returns (bytes32) {
        return _hashTypedDataV4(TermsHash.structHash(narrowing));
    }

    /// @dev A grant that was not issued yet gets an account without uses, so that it never can be.
    function _revoke(Grant calldata grant, address owner) private {
        bytes32 id = grant.structHash();
        Account storage account = _accounts[id];
        if (grant.grantee == address(0)) revert UnknownGrant(id);
        if (account.revoked) revert GrantIsRevoked(id);

        if (account.grantee == address(0)) account.grantee = grant.grantee;
        account.revoked = true;
        emit GrantRevoked(id, owner);
    }
}
