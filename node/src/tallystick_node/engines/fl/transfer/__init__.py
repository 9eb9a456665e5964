"""Federated transfer learning between two parties with few common rows and different columns.

After Liu, Kang, Xing, Chen and Yang, "A Secure Federated Transfer Learning Framework" (IEEE Intelligent Systems, 2020): the
*source* has labels, the *destination* has none, and gets a model on its own columns from the few rows that both have.

- ``representation``: what the source makes of its rows by itself
- ``objective``: the paper's objective, and its exact minimum for a linear destination: the plaintext reference
- ``shared``: the same minimum on secret shares
"""
