"""Vertical federated gradient boosting: owners of different columns of the same people grow trees for one owner's label.

SecureBoost (Cheng, Fan, Jin, Liu, Chen, Papadopoulos and Yang, "SecureBoost: A Lossless Federated Learning Framework", IEEE
Intelligent Systems, 2021) on the split finding of XGBoost (Chen and Guestrin, KDD 2016, sections 2.2 and 3.2).

- ``binning``: an owner's columns in quantile bins, and the cuts between them
- ``boosting``: the algorithm itself, whoever brings the columns; ``fit`` on pooled columns
- ``parts``: the part of a model that each owner keeps, as a document
- ``encrypted``: sums of encrypted gradients over bins, and several of them in one plaintext
- ``secureboost``: the training between owners; ``prediction``: scores of rows by all owners together
"""
