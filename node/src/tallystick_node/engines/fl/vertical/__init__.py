"""Vertical federated learning: owners of different columns of the same people fit models of one owner's label.

Boosted trees by SecureBoost (Cheng, Fan, Jin, Liu, Chen, Papadopoulos and Yang, "SecureBoost: A Lossless Federated Learning
Framework", IEEE Intelligent Systems, 2021) on the split finding of XGBoost (Chen and Guestrin, KDD 2016, sections 2.2 and 3.2):

- ``binning``: an owner's columns in quantile bins, and the cuts between them
- ``boosting``: the algorithm itself, whoever brings the columns; ``fit`` on pooled columns
- ``parts``: the part of a model that each owner keeps, as a document
- ``encrypted``: sums of encrypted gradients over bins, and several of them in one plaintext
- ``secureboost``: the training between owners; ``prediction``: scores of rows by all owners together
- ``importance``: how much each column told of the label, to its owner
- ``shared``: the same trees on secret shares, of which nothing is seen but the model's parts

Linear and logistic regression, as in CAESAR (Chen et al., KDD 2021), with no arbiter:

- ``masked``: products of an owner's matrix with a shared vector, under Paillier; ``holders``: who multiplies what for whom
- ``regression``: the training; ``coefficients``: the part of a model that each owner keeps, as a document
- ``scoring``: scores of rows by all owners together
"""
