// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.20;

import {Enrolment, P256Signature} from "../types/Types.sol";

/// @title Who may take part, under which certificate, in which roles, until when.
/// @notice Everything else asks {requireActive}. Certificates are X.509 with P-256 keys, issued by a consortium authority.
interface IParticipantRegistry {
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

    /// @notice Reverts unless `account` is active now, inside its validity and its authority's, and holds every bit of `role`.
    function requireActive(address account, uint16 role) external view;

    /// @notice Reverts unless `account` is active now, inside its validity and its authority's, and holds a bit of `roles`.
    function requireActiveInAny(address account, uint16 roles) external view;

    function participant(address account) external view returns (Participant memory);
    function authorityAt(uint32 authority) external view returns (Authority memory);
    /// @notice The EIP-712 digests to sign, as this contract computes them.
    function enrolmentDigest(Enrolment calldata enrolment) external view returns (bytes32);
    function possessionDigest(address account, bytes32 fingerprint) external view returns (bytes32);
    function governor() external view returns (address);
}
