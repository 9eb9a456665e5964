// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.20;

import {IAttestationVerifier} from "../interfaces/IAttestationVerifier.sol";

/// @title What a PCK certificate's signed part says: the platform's key, and from when until when.
/// @dev DER (X.690) with lengths of at most two bytes. RFC 5280, section 4.1: version, serial number, algorithm, issuer,
/// validity, subject, key, extensions. The tag of the version also tells a certificate from a revocation list, which the same
/// issuers sign.
library PckCertificate {
    uint8 private constant INTEGER = 0x02;
    uint8 private constant OBJECT = 0x06;
    uint8 private constant SEQUENCE = 0x30;
    uint8 private constant SET = 0x31;
    uint8 private constant VERSION = 0xa0;
    bytes32 private constant VERSION_3 = keccak256(hex"020102");
    bytes32 private constant P256_POINT =
        keccak256(hex"301306072a8648ce3d020106082a8648ce3d03010703420004"); // id-ecPublicKey, prime256v1, uncompressed
    bytes32 private constant COMMON_NAME = keccak256(hex"550403");
    bytes32 private constant SUBJECT = keccak256("SGX PCK Certificate");
    uint256 private constant SUBJECT_SIZE = 19;

    struct Facts {
        bytes32 x;
        bytes32 y;
        uint40 notBefore;
        uint40 notAfter;
    }

    function read(bytes calldata tbs) internal pure returns (Facts memory facts) {
        (bytes calldata content, bytes calldata rest) = _take(tbs, SEQUENCE);
        if (rest.length != 0) revert IAttestationVerifier.BadCertificate("bytes follow the certificate");
        bytes calldata part;
        (part, content) = _take(content, VERSION);
        if (keccak256(part) != VERSION_3) revert IAttestationVerifier.BadCertificate("not of version 3");
        (, content) = _take(content, INTEGER);
        (, content) = _take(content, SEQUENCE); // algorithm: that of the signature, which was verified as ECDSA with SHA-256
        (, content) = _take(content, SEQUENCE); // issuer: its key was compared
        (part, content) = _take(content, SEQUENCE);
        (facts.notBefore, part) = _time(part);
        (facts.notAfter, part) = _time(part);
        (part, content) = _take(content, SEQUENCE);
        _requireSubject(part);
        (part,) = _take(content, SEQUENCE);
        if (part.length != 89 || keccak256(part[:25]) != P256_POINT) revert IAttestationVerifier.BadCertificate("the key is not on P-256");
        facts.x = bytes32(part[25:57]);
        facts.y = bytes32(part[57:89]);
    }

    /// @dev The first name of the subject is a common name that ends in the words of a PCK certificate.
    function _requireSubject(bytes calldata names) private pure {
        (bytes calldata part,) = _take(names, SET);
        (part,) = _take(part, SEQUENCE);
        bytes calldata name;
        (name, part) = _take(part, OBJECT);
        if (keccak256(name) != COMMON_NAME) revert IAttestationVerifier.BadCertificate("the subject does not begin with a common name");
        if (part.length < SUBJECT_SIZE || keccak256(part[part.length - SUBJECT_SIZE:]) != SUBJECT) {
            revert IAttestationVerifier.BadCertificate("the subject is not a PCK certificate's");
        }
    }

    /// @dev The content of the first element, which has this tag, and what follows it. Lengths are of at most 16 bits, so that
    /// nothing here can wrap.
    function _take(bytes calldata data, uint8 tag) private pure returns (bytes calldata content, bytes calldata rest) {
        unchecked {
            if (data.length < 4 || uint8(data[0]) != tag) {
                revert IAttestationVerifier.BadCertificate("another element than the one that stands there");
            }
            uint256 head = uint32(bytes4(data[:4]));
            uint256 length = (head >> 16) & 0xff;
            uint256 start = 2;
            if (length >= 0x80) {
                uint256 width = length - 0x80;
                if (width == 0 || width > 2) revert IAttestationVerifier.BadCertificate("a length is not read here");
                start += width;
                length = width == 1 ? (head >> 8) & 0xff : head & 0xffff;
                if (length < (width == 1 ? 0x80 : 0x100)) {
                    revert IAttestationVerifier.BadCertificate("a length is not the shortest");
                }
            }
            if (data.length < start + length) {
                revert IAttestationVerifier.BadCertificate("an element is longer than what holds it");
            }
            return (data[start:start + length], data[start + length:]);
        }
    }

    /// @dev UTCTime or GeneralizedTime in seconds since 1970. The calendar is Fliegel and van Flandern's (1968).
    function _time(bytes calldata data) private pure returns (uint40, bytes calldata rest) {
        bool short = data.length != 0 && uint8(data[0]) == 0x17;
        bytes calldata text;
        (text, rest) = _take(data, short ? 0x17 : 0x18);
        if (text.length != (short ? 13 : 15)) revert IAttestationVerifier.BadCertificate("a time is not in its form");
        // Fifteen characters, most significant first, so that both forms have their parts at the same places.
        uint256 word = uint256(bytes32(text)) >> (short ? 152 : 136);
        unchecked {
            if (word & 0xff != 0x5a) revert IAttestationVerifier.BadCertificate("a time is not in its form");
            uint256 year = _number(word, 88);
            year += short ? (year < 50 ? 2000 : 1900) : 100 * _number(word, 104);
            uint256 month = _number(word, 72);
            uint256 day = _number(word, 56);
            if (year < 1970 || month == 0 || month > 12 || day == 0 || day > 31) {
                revert IAttestationVerifier.BadCertificate("a time is none");
            }
            uint256 shift = month > 2 ? 0 : 1;
            uint256 y = year + 4800 - shift;
            uint256 count = day + (153 * (month + 12 * shift - 3) + 2) / 5 + 365 * y + y / 4 - y / 100 + y / 400 - 2472633;
            uint256 clock = _number(word, 40) * 3600 + _number(word, 24) * 60 + _number(word, 8);
            return (uint40(count * 86400 + clock), rest);
        }
    }

    /// @dev Two decimal digits, the second of which stands `shift` bits from the end.
    function _number(uint256 word, uint256 shift) private pure returns (uint256) {
        unchecked {
            uint256 tens = ((word >> (shift + 8)) & 0xff) - 0x30;
            uint256 ones = ((word >> shift) & 0xff) - 0x30;
            if (tens > 9 || ones > 9) revert IAttestationVerifier.BadCertificate("a time has other than digits");
            return tens * 10 + ones;
        }
    }
}
