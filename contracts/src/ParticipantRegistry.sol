// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.20;

import {Ownable, Ownable2Step} from "@openzeppelin/contracts/access/Ownable2Step.sol";
import {EIP712} from "@openzeppelin/contracts/utils/cryptography/EIP712.sol";
import {P256} from "@openzeppelin/contracts/utils/cryptography/P256.sol";
import {IParticipantRegistry} from "./interfaces/IParticipantRegistry.sol";
import {StructHash} from "./libraries/StructHash.sol";
import {Enrolment, P256Signature, Roles} from "./types/Types.sol";

/// @title Who may take part, under which certificate, in which roles, until when.
contract ParticipantRegistry is IParticipantRegistry, Ownable2Step, EIP712 {
    using StructHash for Enrolment;

    /* STORAGE */

    uint32 private _authorityCount;
    mapping(uint32 authority => Authority) private _authorities;
    mapping(address account => Participant) private _participants;

    constructor(address governor_) Ownable(governor_) EIP712("Tallystick ParticipantRegistry", "1") {}

    /* AUTHORITIES */

    /// @inheritdoc IParticipantRegistry
    function addAuthority(bytes32 x, bytes32 y, uint40 notBefore, uint40 notAfter)
        external
        returns (uint32 authority)
    {
        _onlyGovernor();
        if (!P256.isValidPublicKey(x, y)) revert BadKey();
        if (notAfter <= notBefore || notAfter < block.timestamp) revert BadValidity(notBefore, notAfter);

        authority = _authorityCount++;
        _authorities[authority] = Authority(x, y, notBefore, notAfter, false);
        emit AuthorityAdded(authority, x, y, notBefore, notAfter);
    }

    /// @inheritdoc IParticipantRegistry
    function retireAuthority(uint32 authority) external {
        _onlyGovernor();
        if (authority >= _authorityCount) revert UnknownAuthority(authority);
        if (_authorities[authority].retired) revert AuthorityNotValid(authority);

        _authorities[authority].retired = true;
        emit AuthorityRetired(authority);
    }

    /* PARTICIPANTS */

    /// @inheritdoc IParticipantRegistry
    function enrol(
        uint32 authority,
        Enrolment calldata enrolment,
        P256Signature calldata byAuthority,
        P256Signature calldata bySubject
    ) external {
        if (msg.sender != enrolment.account) revert NotTheSubject(msg.sender, enrolment.account);
        if (enrolment.roles == 0 || enrolment.roles > Roles.ALL) revert BadRoles(enrolment.roles);
        if (enrolment.notAfter <= enrolment.notBefore || enrolment.notAfter < block.timestamp) {
            revert BadValidity(enrolment.notBefore, enrolment.notAfter);
        }
        Participant storage previous = _participants[enrolment.account];
        if (previous.status == Status.Suspended || previous.status == Status.Revoked) {
            revert WrongStatus(enrolment.account, previous.status);
        }
        if (previous.status == Status.Active && enrolment.notBefore <= previous.notBefore) {
            revert NotNewer(enrolment.notBefore, previous.notBefore);
        }
        _requireAuthority(authority);
        Authority storage by = _authorities[authority];
        if (!P256.verify(_hashTypedDataV4(enrolment.structHash()), byAuthority.r, byAuthority.s, by.x, by.y)) {
            revert BadAuthoritySignature();
        }
        bytes32 possession = possessionDigest(enrolment.account, enrolment.fingerprint);
        if (!P256.verify(possession, bySubject.r, bySubject.s, enrolment.subjectX, enrolment.subjectY)) {
            revert BadPossessionSignature();
        }

        _participants[enrolment.account] = Participant(
            enrolment.fingerprint,
            enrolment.roles,
            enrolment.notBefore,
            enrolment.notAfter,
            authority,
            Status.Active
        );
        emit Enrolled(
            enrolment.account,
            enrolment.fingerprint,
            authority,
            enrolment.subjectX,
            enrolment.subjectY,
            enrolment.roles,
            enrolment.notBefore,
            enrolment.notAfter
        );
    }

    /// @inheritdoc IParticipantRegistry
    function suspend(address account, bytes32 reason) external {
        _onlyGovernor();
        Participant storage who = _participants[account];
        if (who.status != Status.Active) revert WrongStatus(account, who.status);

        who.status = Status.Suspended;
        emit Suspended(account, who.fingerprint, reason);
    }

    /// @inheritdoc IParticipantRegistry
    function reinstate(address account) external {
        _onlyGovernor();
        Participant storage who = _participants[account];
        if (who.status != Status.Suspended) revert WrongStatus(account, who.status);

        who.status = Status.Active;
        emit Reinstated(account, who.fingerprint);
    }

    /// @inheritdoc IParticipantRegistry
    function revoke(address account, bytes32 reason) external {
        if (msg.sender != account) _onlyGovernor();
        Participant storage who = _participants[account];
        if (who.status != Status.Active && who.status != Status.Suspended) revert WrongStatus(account, who.status);

        who.status = Status.Revoked;
        emit Revoked(account, who.fingerprint, reason);
    }

    /* VIEWS */

    /// @inheritdoc IParticipantRegistry
    function requireActive(address account, uint16 role) external view {
        if (_activeRoles(account) & role != role) revert RoleMissing(account, role);
    }

    /// @inheritdoc IParticipantRegistry
    function requireActiveInAny(address account, uint16 roles) external view {
        if (_activeRoles(account) & roles == 0) revert RoleMissing(account, roles);
    }

    /// @inheritdoc IParticipantRegistry
    function participant(address account) external view returns (Participant memory) {
        return _participants[account];
    }

    /// @inheritdoc IParticipantRegistry
    function authorityAt(uint32 authority) external view returns (Authority memory) {
        if (authority >= _authorityCount) revert UnknownAuthority(authority);
        return _authorities[authority];
    }

    /// @inheritdoc IParticipantRegistry
    function enrolmentDigest(Enrolment calldata enrolment) external view returns (bytes32) {
        return _hashTypedDataV4(enrolment.structHash());
    }

    /// @inheritdoc IParticipantRegistry
    function possessionDigest(address account, bytes32 fingerprint) public view returns (bytes32) {
        return _hashTypedDataV4(StructHash.possession(account, fingerprint));
    }

    /// @inheritdoc IParticipantRegistry
    function governor() public view returns (address) {
        return owner();
    }

    /* RULES */

    function _onlyGovernor() private view {
        if (msg.sender != governor()) revert NotAllowed(msg.sender);
    }

    function _activeRoles(address account) private view returns (uint16) {
        Participant storage who = _participants[account];
        if (who.status != Status.Active) revert NotActive(account, who.status);
        if (block.timestamp < who.notBefore || block.timestamp > who.notAfter) {
            revert OutsideValidity(account, who.notBefore, who.notAfter);
        }
        _requireAuthority(who.authority);
        return who.roles;
    }

    function _requireAuthority(uint32 authority) private view {
        Authority storage a = _authorities[authority];
        if (a.notAfter == 0) revert UnknownAuthority(authority); // an authority's validity never ends at zero
        if (a.retired || block.timestamp < a.notBefore || block.timestamp > a.notAfter) {
            revert AuthorityNotValid(authority);
        }
    }
}
