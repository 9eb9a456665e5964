"""Remote attestation: evidence of trusted execution environments, verified offline against the vendors' roots.

Names follow RFC 9334: an *attester* makes :class:`~tallystick.attestation.verifier.Evidence`; *endorsements* (certificates,
revocation lists, TCB information) come from the vendor; *reference values* say which code is expected; the *appraisal policy*
says what is good enough; :func:`~tallystick.attestation.verifier.appraise` gives an *attestation result* in the shape of
draft-ietf-rats-ear, or raises :class:`~tallystick.attestation.rules.EvidenceRefused`.

The package is pure: bytes and a time in, a result or one kind of error out. It reads no clock, no file and no network, and of ours
it imports :mod:`tallystick.flat_json` only. The rules are numbered in :mod:`tallystick.attestation.rules` and in
``docs/spec/attestation.md``.
"""
