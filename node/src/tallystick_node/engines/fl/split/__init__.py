"""Split neural networks: owners of different columns of the same people train one network for one owner's label.

Each owner runs its columns through a network of its own, the bottom; the owner of the label joins what the bottoms give and runs it
through the top (Vepakomma, Gupta, Swedish and Raskar, "Split learning for health: Distributed deep learning without sharing raw
patient data", 2018, the configuration for vertically partitioned data). Gradients that would tell labels are noised before they
leave (Li et al., "Label leakage and protection in two-party split learning", ICLR 2022).

- ``towers``: dense networks in NumPy, and the steps of their training
- ``network``: the algorithm itself, whoever brings the columns; ``fit`` on pooled columns
- ``protection``: the noise on gradients
- ``parts``: the part of a model that each owner keeps, as a document
- ``training``: the training between owners; ``prediction``: scores of rows by all owners together
"""
