"""Why a row got its score, where different owners have the columns: values that respect who owns what.

The score less the mean score is divided among owners by the Shapley value, and an owner's share among its columns by the Owen
value, so that an owner's columns add up to its share, whatever columns the others have.

- ``trees``: exact values of boosted trees; ``joint_trees``: between owners
- ``linear``: those of linear predictors, between owners
- ``networks``: those of split networks, between owners, against a few rows
"""
