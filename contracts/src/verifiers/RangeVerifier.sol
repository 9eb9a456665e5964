// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.20;

import {Result} from "../types/Types.sol";
import {SignedByAllVerifier} from "./SignedByAllVerifier.sol";

/// @title As sum-verified, and each committed input and the sum are in the ranges that the proof names.
/// @notice Ranges are linear forms of the committed values, 0 <= offset + sum of coefficient times value < 4^digits, modulo the
/// group's order: one list of forms that every input satisfies, and one that the sum does ("at least k members" is the form
/// n - k). Parties prove them without showing a value, and without a trusted set-up: a sigma protocol with the polynomial
/// argument for digits of Groth and Kohlweiss (EUROCRYPT 2015) and Bootle et al. (ESORICS 2015), made non-interactive by Fiat
/// and Shamir. The protocol and what its security rests on stand in docs/spec/ranges.md.
///
/// All proofs of a task are checked as one equation, a random combination: one multiplication for each digit and each value,
/// whatever the number of parties, and eight for each proof.
/// @dev Proof bytes, in words: values m, number of input forms, number of sum forms; the forms, each as digits, number of terms,
/// offset, and for each term index and coefficient; the commitments C of all parties in the proposal's order, (0, 0) for a
/// party without input, and their sum S, two words each; then a range proof for each C that is not (0, 0), and one for S.
/// A range proof is: seven points B, A, E, K_0 to K_3; m responses of values; for each form its digits' responses but the first;
/// three blindings. `result.inputs` is keccak256(abi.encode(C)), `result.output` is keccak256(abi.encode(S, keccak256(proof))).
contract RangeVerifier is SignedByAllVerifier {
    uint256 public constant MAX_VALUES = 126;
    uint256 public constant MAX_DIGITS = 256; // of one range proof
    uint256 private constant MAX_FORM_DIGITS = 64;
    uint256 private constant ORDER = 21888242871839275222246405745257275088548364400416034343698204186575808495617;
    uint256 private constant PROOF_HEAD = 14 * 32; // seven points
    uint256 private constant TOTAL = type(uint256).max; // the sum's place; a party's is its index
    bytes32 private constant TAG = keccak256("tallystick/range/v1");
    // Of H, every G_k and every D_j, found by hashing (docs/spec/ranges.md), behind a byte that keeps them from being run.
    bytes32 private constant GENERATORS = 0xb11bf449fb68ea8c01fd920b390aaf25d0f5cbe99be58448df42314e01498f98;

    /// @notice The account whose code holds the generators.
    address public immutable generators;

    error PrecompileMissing(address precompile);
    error WrongGenerators();

    struct Form {
        uint256 digits;
        uint256 offset;
        uint256 terms;
        uint256 at; // of the first term, in calldata
    }

    /// @dev One check of all proofs of a result.
    struct Check {
        bytes32 context;
        Form[] inputs;
        Form[] total;
        uint256 end; // of the forms, in the proof; the commitments follow
        bytes32 shape; // hash of the words before it
        uint256 base; // of the random combination
        uint256 weight; // base to the power of the equations weighed so far
        uint256 blinding; // the scalar of H
        uint256[] values; // the scalars of G_k
        uint256[] digits; // the scalars of D_j
        uint256[2] points; // the combination of the proofs' points
    }

    /// @param points H, G_0 to G_125, D_0 to D_255, 64 bytes each
    constructor(bytes memory points) {
        _probe(6, abi.encode(uint256(1), uint256(2), uint256(0), uint256(0)));
        _probe(7, abi.encode(uint256(1), uint256(2), uint256(1)));
        // Code that returns what follows it.
        bytes memory code = abi.encodePacked(hex"600b5981380380925939f3", hex"00", points);
        address made;
        assembly ("memory-safe") {
            made := create(0, add(code, 32), mload(code))
        }
        if (made.codehash != GENERATORS) revert WrongGenerators();
        generators = made;
    }

    /// @inheritdoc SignedByAllVerifier
    function verify(
        address[] calldata parties,
        Result calldata result,
        bytes32 digest,
        bytes[] calldata signatures,
        bytes calldata proof
    ) external view override returns (uint16) {
        _requireSignatures(parties, digest, signatures, 0);
        Check memory check;
        check.context = keccak256(abi.encode(block.chainid, msg.sender, result.task, result.attempt));
        check.base = uint256(keccak256(abi.encode(TAG, check.context, keccak256(proof)))) % ORDER;
        check.weight = 1;
        _readShape(proof, check);
        _requireCommitments(parties.length, result, proof, check.end);
        _weighAll(check, parties.length, proof);
        _requireBalance(check);
        return 0;
    }

    /// @inheritdoc SignedByAllVerifier
    function name() public pure override returns (string memory) {
        return "sum-in-range";
    }

    /* SHAPE AND COMMITMENTS */

    function _readShape(bytes calldata proof, Check memory check) private pure {
        uint256 values = _word(proof, 0);
        if (values == 0 || values > MAX_VALUES) revert BadProof("1 to 126 values");
        check.values = new uint256[](values);
        uint256 first;
        uint256 second;
        (check.inputs, first, check.end) = _readForms(proof, _word(proof, 32), values, 96);
        (check.total, second, check.end) = _readForms(proof, _word(proof, 64), values, check.end);
        check.digits = new uint256[](first > second ? first : second);
        check.shape = keccak256(proof[:check.end]);
    }

    function _readForms(bytes calldata proof, uint256 count, uint256 values, uint256 at)
        private
        pure
        returns (Form[] memory forms, uint256 digits, uint256)
    {
        if (count == 0 || count > MAX_DIGITS) revert BadProof("1 to 256 forms");
        forms = new Form[](count);
        for (uint256 l; l < count; ++l) {
            Form memory form = forms[l];
            form.digits = _word(proof, at);
            form.terms = _word(proof, at + 32);
            form.offset = _word(proof, at + 64);
            at += 96;
            if (form.digits == 0 || form.digits > MAX_FORM_DIGITS) revert BadProof("a form has 1 to 64 digits");
            if (form.terms == 0 || form.terms > values) revert BadProof("a form has at least one term, at most one for each value");
            if (form.offset >= ORDER) revert BadProof("an offset is not reduced");
            digits += form.digits;
            uint256 start;
            assembly ("memory-safe") {
                start := proof.offset
            }
            form.at = start + at;
            for (uint256 t; t < form.terms; ++t) {
                if (_word(proof, at) >= values) revert BadProof("a form names a value that there is not");
                if (_word(proof, at + 32) >= ORDER) revert BadProof("a coefficient is not reduced");
                at += 64;
            }
        }
        if (digits > MAX_DIGITS) revert BadProof("more than 256 digits");
        return (forms, digits, at);
    }

    /// @dev The commitments are those signed, and add up to the sum, which is signed with all proof bytes.
    function _requireCommitments(uint256 parties, Result calldata result, bytes calldata proof, uint256 end) private view {
        if (proof.length < end + 64 * (parties + 1)) revert BadProof("the proof ends too soon");
        bytes calldata inputs = proof[end:end + 64 * parties];
        if (keccak256(abi.encodePacked(uint256(32), parties, inputs)) != result.inputs) {
            revert BadProof("input commitments are not those signed");
        }
        bytes calldata sum = proof[end + 64 * parties:end + 64 * (parties + 1)];
        if (keccak256(abi.encodePacked(sum, keccak256(proof))) != result.output) {
            revert BadProof("result commitment or proof is not the one signed");
        }
        uint256[2] memory total;
        for (uint256 i; i < parties; ++i) {
            _add(total, _word(inputs, 64 * i), _word(inputs, 64 * i + 32));
        }
        if (total[0] != _word(sum, 0) || total[1] != _word(sum, 32)) {
            revert BadProof("the input commitments do not add up to the result");
        }
    }

    /* RANGES */

    function _weighAll(Check memory check, uint256 parties, bytes calldata proof) private view {
        uint256 start;
        assembly ("memory-safe") {
            start := proof.offset
        }
        uint256 limit = start + proof.length;
        uint256 commitment = start + check.end;
        uint256 at = commitment + 64 * (parties + 1);
        for (uint256 i; i < parties; ++i) {
            if (_load(commitment) != 0 || _load(commitment + 32) != 0) {
                at = _weigh(check, check.inputs, i, commitment, at, limit);
            }
            commitment += 64;
        }
        at = _weigh(check, check.total, TOTAL, commitment, at, limit);
        if (at != limit) revert BadProof("the proof is longer than its forms say");
    }

    /// @dev Adds the three equations of one range proof, which stands at `at` in calldata, to the combination.
    function _weigh(
        Check memory check,
        Form[] memory forms,
        uint256 place,
        uint256 commitment,
        uint256 at,
        uint256 limit
    ) private view returns (uint256 next) {
        uint256 values = at + PROOF_HEAD;
        uint256 digits = values + 32 * check.values.length;
        next = digits;
        for (uint256 l; l < forms.length; ++l) {
            next += 32 * (forms[l].digits - 1);
        }
        if (next + 96 > limit) revert BadProof("the proof ends too soon");

        uint256 x = _challenge(check, place, commitment, at);
        (uint256 first, uint256 second, uint256 third) = _weights(check);
        _weighPoints(check, at, x, first, second);
        _addMultiple(check.points, commitment, mulmod(third, x, ORDER));
        _addMultiple(check.points, at + 128, third);
        for (uint256 k; k < check.values.length; ++k) {
            check.values[k] = addmod(check.values[k], mulmod(third, _scalar(values + 32 * k), ORDER), ORDER);
        }
        _weighDigits(check, forms, values, digits, x, first, second);
        uint256 blinding = addmod(
            addmod(mulmod(first, _scalar(next), ORDER), mulmod(second, _scalar(next + 32), ORDER), ORDER),
            mulmod(third, _scalar(next + 64), ORDER),
            ORDER
        );
        check.blinding = addmod(check.blinding, blinding, ORDER);
        return next + 96;
    }

    function _challenge(Check memory check, uint256 place, uint256 commitment, uint256 at) private pure returns (uint256) {
        bytes memory said = new bytes(128 + 64 + PROOF_HEAD);
        bytes32 context = check.context;
        bytes32 shape = check.shape;
        bytes32 tag = TAG;
        uint256 head = PROOF_HEAD;
        assembly ("memory-safe") {
            mstore(add(said, 0x20), tag)
            mstore(add(said, 0x40), context)
            mstore(add(said, 0x60), shape)
            mstore(add(said, 0x80), place)
            calldatacopy(add(said, 0xa0), commitment, 64)
            calldatacopy(add(said, 0xe0), at, head)
        }
        return uint256(keccak256(said)) % ORDER;
    }

    /// @dev Three fresh powers of the base: of equations about digits, about their products, and about values.
    function _weights(Check memory check) private pure returns (uint256 first, uint256 second, uint256 third) {
        first = mulmod(check.weight, check.base, ORDER);
        second = mulmod(first, check.base, ORDER);
        third = mulmod(second, check.base, ORDER);
        check.weight = third;
    }

    /// @dev x B + A by the first weight, the sum of x^s K_s by the second. E stands between A and K_0.
    function _weighPoints(Check memory check, uint256 at, uint256 x, uint256 first, uint256 second) private view {
        _addMultiple(check.points, at, mulmod(first, x, ORDER));
        _addMultiple(check.points, at + 64, first);
        for (uint256 s; s < 4; ++s) {
            _addMultiple(check.points, at + 192 + 64 * s, second);
            second = mulmod(second, x, ORDER);
        }
    }

    /// @dev Each response f of a digit by the first weight, f (f - x) (f - 2x) (f - 3x) by the second. A form's first response is
    /// what its equation leaves: the sum of 4^j f_j is offset times x plus the form of the values' responses.
    function _weighDigits(
        Check memory check,
        Form[] memory forms,
        uint256 values,
        uint256 digits,
        uint256 x,
        uint256 first,
        uint256 second
    ) private pure {
        uint256 place;
        for (uint256 l; l < forms.length; ++l) {
            Form memory form = forms[l];
            uint256 left = _formOf(form, values, x);
            uint256 power = 1;
            // Positions in calldata and numbers below the order: nothing here overflows.
            unchecked {
                for (uint256 j = 1; j < form.digits; ++j) {
                    uint256 f = _scalar(digits);
                    digits += 32;
                    power <<= 2; // below 2^128
                    left = addmod(left, ORDER - mulmod(power, f, ORDER), ORDER);
                    _weighDigit(check.digits, place + j, f, x, first, second);
                }
                _weighDigit(check.digits, place, left, x, first, second);
                place += form.digits;
            }
        }
    }

    function _formOf(Form memory form, uint256 values, uint256 x) private pure returns (uint256 sum) {
        sum = mulmod(form.offset, x, ORDER);
        uint256 at = form.at;
        for (uint256 t; t < form.terms; ++t) {
            sum = addmod(sum, mulmod(_load(at + 32), _load(values + 32 * _load(at)), ORDER), ORDER);
            at += 64;
        }
    }

    function _weighDigit(uint256[] memory scalars, uint256 place, uint256 f, uint256 x, uint256 first, uint256 second)
        private
        pure
    {
        uint256 minus = ORDER - x;
        uint256 once = addmod(f, minus, ORDER);
        uint256 twice = addmod(once, minus, ORDER);
        uint256 product = mulmod(mulmod(f, once, ORDER), mulmod(twice, addmod(twice, minus, ORDER), ORDER), ORDER);
        uint256 more = addmod(mulmod(first, f, ORDER), mulmod(second, product, ORDER), ORDER);
        scalars[place] = addmod(scalars[place], more, ORDER);
    }

    /// @dev The combination of the proofs' points is that of the generators.
    function _requireBalance(Check memory check) private view {
        uint256[2] memory sum;
        bytes memory points = _generators(0, 1 + check.values.length);
        _addGenerator(sum, points, 0, check.blinding);
        for (uint256 k; k < check.values.length; ++k) {
            _addGenerator(sum, points, k + 1, check.values[k]);
        }
        points = _generators(1 + MAX_VALUES, check.digits.length);
        for (uint256 j; j < check.digits.length; ++j) {
            _addGenerator(sum, points, j, check.digits[j]);
        }
        if (sum[0] != check.points[0] || sum[1] != check.points[1]) revert BadProof("a range proof does not hold");
    }

    function _generators(uint256 first, uint256 count) private view returns (bytes memory points) {
        points = new bytes(64 * count);
        address at = generators;
        assembly ("memory-safe") {
            extcodecopy(at, add(points, 32), add(1, mul(64, first)), mul(64, count))
        }
    }

    /* WORDS AND POINTS */

    function _word(bytes calldata data, uint256 at) private pure returns (uint256) {
        if (data.length < at + 32) revert BadProof("the proof ends too soon");
        return uint256(bytes32(data[at:at + 32]));
    }

    function _load(uint256 at) private pure returns (uint256 word) {
        assembly ("memory-safe") {
            word := calldataload(at)
        }
    }

    function _scalar(uint256 at) private pure returns (uint256 word) {
        word = _load(at);
        if (word >= ORDER) revert BadProof("a number is not reduced");
    }

    function _addGenerator(uint256[2] memory sum, bytes memory points, uint256 index, uint256 scalar) private view {
        uint256 x;
        uint256 y;
        assembly ("memory-safe") {
            let at := add(add(points, 32), mul(64, index))
            x := mload(at)
            y := mload(add(at, 32))
        }
        _addProduct(sum, x, y, scalar);
    }

    function _addMultiple(uint256[2] memory sum, uint256 at, uint256 scalar) private view {
        _addProduct(sum, _load(at), _load(at + 32), scalar);
    }

    function _addProduct(uint256[2] memory sum, uint256 x, uint256 y, uint256 scalar) private view {
        bool ok;
        assembly ("memory-safe") {
            let free := mload(0x40)
            mstore(free, x)
            mstore(add(free, 0x20), y)
            mstore(add(free, 0x40), scalar)
            ok := staticcall(gas(), 7, free, 0x60, free, 0x40)
        }
        if (!ok) revert BadProof("what should be a point is none of the curve");
        assembly ("memory-safe") {
            let free := mload(0x40)
            mstore(add(free, 0x40), mload(sum))
            mstore(add(free, 0x60), mload(add(sum, 0x20)))
            ok := staticcall(gas(), 6, free, 0x80, sum, 0x40)
        }
        if (!ok) revert BadProof("two points do not add up");
    }

    function _add(uint256[2] memory sum, uint256 x, uint256 y) private view {
        bool ok;
        assembly ("memory-safe") {
            let free := mload(0x40)
            mstore(free, x)
            mstore(add(free, 0x20), y)
            mstore(add(free, 0x40), mload(sum))
            mstore(add(free, 0x60), mload(add(sum, 0x20)))
            ok := staticcall(gas(), 6, free, 0x80, sum, 0x40)
        }
        if (!ok) revert BadProof("a commitment is not a point of the curve");
    }

    /// @dev A chain without the precompile answers with nothing at all. Both calls have (1, 2) as their answer.
    function _probe(uint160 precompile, bytes memory input) private view {
        (bool ok, bytes memory out) = address(precompile).staticcall(input);
        if (!ok || keccak256(out) != keccak256(abi.encode(uint256(1), uint256(2)))) revert PrecompileMissing(address(precompile));
    }
}
