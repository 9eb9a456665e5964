// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.20;

import {Ownable, Ownable2Step} from "@openzeppelin/contracts/access/Ownable2Step.sol";
import {EIP712} from "@openzeppelin/contracts/utils/cryptography/EIP712.sol";
import {P256} from "@openzeppelin/contracts/utils/cryptography/P256.sol";
import {Operators} from "./Operators.sol";
import {IParticipantRegistry} from "./interfaces/IParticipantRegistry.sol";
import {StructHash} from "./libraries/StructHash.sol";
import {Enrolment, P256Signature, Roles} from "./types/Types.sol";

/// @title Who may take part, under which certificate, in which roles, until when.
contract ParticipantRegistry is IParticipantRegistry, Operators, Ownable2Step {
    using StructHash for Enrolment;

    uint40 private constant MOTION_DELAY = 2 days;
    uint40 private constant MOTION_PERIOD = 14 days;

    /* STORAGE */

    uint32 private _authorityCount;
    mapping(uint32 authority => Authority) private _authorities;
    mapping(address account => Participant) private _participants;
    mapping(uint32 authority => mapping(bytes32 fingerprint => bool)) private _revokedCertificates;
    mapping(address account => Motion) private _motions;

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
        if (_revokedCertificates[authority][enrolment.fingerprint]) revert CertificateIsRevoked(enrolment.fingerprint);
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
        _suspend(account, reason);
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

    /// @inheritdoc IParticipantRegistry
    function revokeCertificate(
        uint32 authority,
        address account,
        bytes32 fingerprint,
        bytes32 reason,
        P256Signature calldata byAuthority
    ) external {
        Authority storage by = _authorities[authority];
        if (by.notAfter == 0) revert UnknownAuthority(authority);
        if (_revokedCertificates[authority][fingerprint]) revert CertificateIsRevoked(fingerprint);
        bytes32 digest = certificateRevocationDigest(account, fingerprint, reason);
        if (!P256.verify(digest, byAuthority.r, byAuthority.s, by.x, by.y)) revert BadAuthoritySignature();

        _revokedCertificates[authority][fingerprint] = true;
        emit CertificateRevoked(authority, fingerprint, account, reason);
        Participant storage who = _participants[account];
        bool enrolled = who.status == Status.Active || who.status == Status.Suspended;
        if (!enrolled || who.authority != authority || who.fingerprint != fingerprint) return;
        who.status = Status.Revoked;
        emit Revoked(account, fingerprint, reason);
    }

    /* REGULATORS */

    /// @inheritdoc IParticipantRegistry
    function moveSuspension(address account, bytes32 reason) external {
        if (_activeRoles(msg.sender) & Roles.REGULATOR == 0) revert RoleMissing(msg.sender, Roles.REGULATOR);
        if (_participants[account].status != Status.Active) revert WrongStatus(account, _participants[account].status);
        bool standing = block.timestamp <= _motions[account].effectiveAt + MOTION_PERIOD;
        if (standing && _motions[account].regulator != address(0)) revert MotionExists(account);
        uint40 effectiveAt = uint40(block.timestamp) + MOTION_DELAY;

        _motions[account] = Motion(msg.sender, effectiveAt, reason);
        emit SuspensionMoved(account, msg.sender, reason, effectiveAt);
    }

    /// @inheritdoc IParticipantRegistry
    function carrySuspension(address account) external {
        Motion memory motion = _motions[account];
        if (motion.regulator == address(0)) revert NoMotion(account);
        uint40 until = motion.effectiveAt + MOTION_PERIOD;
        if (block.timestamp < motion.effectiveAt || block.timestamp > until) {
            revert MotionNotDue(account, motion.effectiveAt, until);
        }
        if (_activeRoles(motion.regulator) & Roles.REGULATOR == 0) {
            revert RoleMissing(motion.regulator, Roles.REGULATOR);
        }

        delete _motions[account];
        _suspend(account, motion.reason);
    }

    /// @inheritdoc IParticipantRegistry
    function dropSuspension(address account, bytes32 reason) external {
        address regulator = _motions[account].regulator;
        if (regulator == address(0)) revert NoMotion(account);
        if (msg.sender != regulator) _onlyGovernor();

        delete _motions[account];
        emit SuspensionDropped(account, msg.sender, reason);
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
    function certificateRevocationDigest(address account, bytes32 fingerprint, bytes32 reason)
        public
        view
        returns (bytes32)
    {
        return _hashTypedDataV4(StructHash.certificateRevocation(account, fingerprint, reason));
    }

    /// @inheritdoc IParticipantRegistry
    function certificateRevoked(uint32 authority, bytes32 fingerprint) external view returns (bool) {
        return _revokedCertificates[authority][fingerprint];
    }

    /// @inheritdoc IParticipantRegistry
    function motionAgainst(address account) external view returns (Motion memory) {
        return _motions[account];
    }

    /// @inheritdoc IParticipantRegistry
    function governor() public view returns (address) {
        return owner();
    }

    /* RULES */

    function _onlyGovernor() private view {
        if (msg.sender != governor()) revert NotAllowed(msg.sender);
    }

    function _suspend(address account, bytes32 reason) private {
        Participant storage who = _participants[account];
        if (who.status != Status.Active) revert WrongStatus(account, who.status);

        who.status = Status.Suspended;
        emit Suspended(account, who.fingerprint, reason);
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

    /// @inheritdoc Operators
    function _isActive(address account) internal view override returns (bool) {
        Participant storage who = _participants[account];
        Authority storage by = _authorities[who.authority];
        return who.status == Status.Active && block.timestamp >= who.notBefore && block.timestamp <= who.notAfter
            && !by.retired && block.timestamp >= by.notBefore && block.timestamp <= by.notAfter;
    }

    function _requireAuthority(uint32 authority) private view {
        Authority storage a = _authorities[authority];
        if (a.notAfter == 0) revert UnknownAuthority(authority); // an authority's validity never ends at zero
        if (a.retired || block.timestamp < a.notBefore || block.timestamp > a.notAfter) {
            revert AuthorityNotValid(authority);
        }
    }
}
