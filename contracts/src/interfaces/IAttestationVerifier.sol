// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.20;

import {P256Signature} from "../types/Types.sol";
import {IEnclaveVerifier} from "./IEnclaveVerifier.sol";

/// @title Which platforms and enclaves count, and results that one of them computed. `docs/spec/attested-task.md` has the bytes.
/// @dev Nothing here reads TCB levels or revocation lists: who gives data checks those off chain first, and the governor
/// revokes a platform, or ends the use of an enclave, that has lost its good standing.
interface IAttestationVerifier is IEnclaveVerifier {
    /// @notice A platform whose certificate was checked. Its id is keccak256(x || y) of the certificate's key.
    struct Platform {
        uint40 notBefore; // seconds since 1970, inclusive, as in its certificate
        uint40 notAfter; // zero: not registered
        bool revoked;
    }

    /// @notice What a quote says.
    struct Quoted {
        bytes32 identity; // what runs, as one digest
        bytes32 reportData; // the first half of what it chose to say
        bytes32 reportDataRest; // the second half
    }

    event PlatformRegistered(
        bytes32 indexed platform,
        bytes32 x,
        bytes32 y,
        bytes32 issuerX,
        bytes32 issuerY,
        uint40 notBefore,
        uint40 notAfter
    );
    event PlatformRevoked(bytes32 indexed platform, bytes32 reason);

    error UnknownIssuer(bytes32 x, bytes32 y);
    error BadCertificate(string rule);
    error BadCertificateSignature();
    error CertificateOutsideValidity(uint40 notBefore, uint40 notAfter);
    error PlatformExists(bytes32 platform);
    error PlatformIsRevoked(bytes32 platform);

    /// @notice Registers a platform by its PCK certificate. Anyone: the issuer's signature decides. A platform that has another
    /// certificate for the same key is registered anew with the one that ends later; never with one that ends earlier.
    /// @param tbs the signed part of the certificate in DER
    /// @param signature by the issuer; `s` of either half
    /// @param issuerX the issuer's P-256 key, which must be one that counts here
    /// @return platform its id
    function registerPlatform(bytes calldata tbs, P256Signature calldata signature, bytes32 issuerX, bytes32 issuerY)
        external
        returns (bytes32 platform);

    /// @notice Ends a platform's use for good, registered or not. Governor only.
    function revokePlatform(bytes32 platform, bytes32 reason) external;

    /// @notice Reverts unless the quote is of an enclave, not a debug one, on a platform that counts now.
    /// @param signed header and report body, of version 5 with the body's type and size between them
    /// @param endorsement signature, attestation key, report of the quoting enclave, its signature, authentication data
    function appraise(bytes32 x, bytes32 y, bytes calldata signed, bytes calldata endorsement)
        external
        view
        returns (Quoted memory);

    function isIssuer(bytes32 x, bytes32 y) external view returns (bool);
    function platformAt(bytes32 platform) external view returns (Platform memory);
}
