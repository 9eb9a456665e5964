// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.20;

import {IOperators} from "./IOperators.sol";
import {Enrolment, P256Signature} from "../types/Types.sol";

/// @title Who may take part, under which certificate, in which roles, until when.
/// @notice Everything else asks {requireActive}. Certificates are X.509 with P-256 keys, issued by a consortium authority.
interface IParticipantRegistry is IOperators {
    enum Status {
        None,
        Active,
        Suspended,
        Revoked
    }

    struct Participant {
        bytes32 fingerprint;
        uint16 roles;
        uint40 notBefore;
        uint40 notAfter;
        uint32 authority;
        Status status;
    }

    struct Authority {
        bytes32 x;
        bytes32 y;
        uint40 notBefore;
        uint40 notAfter;
        bool retired;
    }

    /// @notice A regulator's motion to suspend a participant.
    struct Motion {
        address regulator; // zero: there is none
        uint40 effectiveAt;
        bytes32 reason;
    }

    event AuthorityAdded(uint32 indexed authority, bytes32 x, bytes32 y, uint40 notBefore, uint40 notAfter);
    event AuthorityRetired(uint32 indexed authority);
    event Enrolled(
        address indexed account,
        bytes32 indexed fingerprint,
        uint32 indexed authority,
        bytes32 subjectX,
        bytes32 subjectY,
        uint16 roles,
        uint40 notBefore,
        uint40 notAfter
    );
    event Suspended(address indexed account, bytes32 indexed fingerprint, bytes32 reason);
    event Reinstated(address indexed account, bytes32 indexed fingerprint);
    event SuspensionMoved(
        address indexed account, address indexed regulator, bytes32 reason, uint40 effectiveAt
    );
    event SuspensionDropped(address indexed account, address indexed by, bytes32 reason);
    event CertificateRevoked(
        uint32 indexed authority, bytes32 indexed fingerprint, address indexed account, bytes32 reason
    );
    event Revoked(address indexed account, bytes32 indexed fingerprint, bytes32 reason);

    error UnknownAuthority(uint32 authority);
    error AuthorityNotValid(uint32 authority);
    error BadAuthoritySignature();
    error BadPossessionSignature();
    error NotTheSubject(address caller, address subject);
    error NotNewer(uint40 notBefore, uint40 previous);
    error BadValidity(uint40 notBefore, uint40 notAfter);
    error BadRoles(uint16 roles);
    error BadKey();
    error NotAllowed(address caller);
    error WrongStatus(address account, Status status);
    error NotActive(address account, Status status);
    error OutsideValidity(address account, uint40 notBefore, uint40 notAfter);
    error CertificateIsRevoked(bytes32 fingerprint);
    error MotionExists(address account);
    error NoMotion(address account);
    error MotionNotDue(address account, uint40 from, uint40 until);
    error RoleMissing(address account, uint16 role);

    /// @notice Accepts a consortium authority's P-256 key. Governor only.
    function addAuthority(bytes32 x, bytes32 y, uint40 notBefore, uint40 notAfter) external returns (uint32 authority);

    /// @notice Ends an authority: nobody it certified is active any longer. Governor only.
    function retireAuthority(uint32 authority) external;

    /// @notice Enrols the caller, or rotates its certificate. Needs the authority's signature over the enrolment and the
    /// subject key's signature over Possession(address account,bytes32 fingerprint). Certificates succeed one another: a
    /// rotation's `notBefore` is later than its predecessor's, so an old enrolment cannot be replayed. A suspended or revoked
    /// account cannot enrol.
    function enrol(
        uint32 authority,
        Enrolment calldata enrolment,
        P256Signature calldata byAuthority,
        P256Signature calldata bySubject
    ) external;

    /// @notice Suspends an active participant. Governor only. `reason` is a digest of the grounds.
    function suspend(address account, bytes32 reason) external;

    /// @notice Lifts a suspension. Governor only.
    function reinstate(address account) external;

    /// @notice Revokes for good. The governor, or the participant itself.
    function revoke(address account, bytes32 reason) external;

    /// @notice Puts a certificate on the authority's revocation list, by the authority's signature (P-256, EIP-712):
    /// CertificateRevocation(address account,bytes32 fingerprint,bytes32 reason). Anyone may relay it; a retired authority may still
    /// revoke. The certificate cannot enrol afterwards, and if the account is enrolled with it, it is revoked for good.
    function revokeCertificate(
        uint32 authority,
        address account,
        bytes32 fingerprint,
        bytes32 reason,
        P256Signature calldata byAuthority
    ) external;

    /// @notice Moves to suspend an active participant, with a digest of the grounds, for everybody to see. A regulator only. It takes
    /// effect after two days when somebody carries it out; until then the governor may drop it, or the regulator itself.
    function moveSuspension(address account, bytes32 reason) external;

    /// @notice Carries out a motion that is due, for two weeks. Anyone, while the regulator that moved it is still active as one.
    function carrySuspension(address account) external;

    /// @notice Drops a motion. The governor, or the regulator that moved it.
    function dropSuspension(address account, bytes32 reason) external;

    /// @notice Reverts unless `account` is active now, inside its validity and its authority's, and holds every bit of `role`.
    function requireActive(address account, uint16 role) external view;

    /// @notice Reverts unless `account` is active now, inside its validity and its authority's, and holds a bit of `roles`.
    function requireActiveInAny(address account, uint16 roles) external view;

    function participant(address account) external view returns (Participant memory);
    function authorityAt(uint32 authority) external view returns (Authority memory);
    /// @notice The EIP-712 digests to sign, as this contract computes them.
    function enrolmentDigest(Enrolment calldata enrolment) external view returns (bytes32);
    function possessionDigest(address account, bytes32 fingerprint) external view returns (bytes32);
    function certificateRevocationDigest(address account, bytes32 fingerprint, bytes32 reason)
        external
        view
        returns (bytes32);
    function certificateRevoked(uint32 authority, bytes32 fingerprint) external view returns (bool);
    function motionAgainst(address account) external view returns (Motion memory);
    function governor() external view returns (address);
}
