"""Differential privacy: exact samplers of noise on integers, mechanisms, and the accountant of what they spend.

- ``sampling``: the discrete Laplace and Gaussian distributions
- ``mechanisms``: clip, quantise, add noise, at one place or by the members of a sum
- ``local``: each person's own randomisation
- ``renyi``: Renyi divergences of the mechanisms
- ``accountant``: composition, (epsilon, delta), and the least noise for a budget
- ``spend``: the fixed-point record of what was spent

No noise here is a floating-point number: the gaps of those tell inputs apart (Mironov, "On significance of the least significant
bits for differential privacy", CCS 2012).
"""
