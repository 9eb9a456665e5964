"""Sums of gradients of which every row's own is cut to an L2 norm, for models of dense layers: what private training adds up.

A row's gradient by a weight matrix is the outer product of what enters the layer and the error that leaves it, so its squared norm
is |x|^2 |e|^2, and with the intercept (|x|^2 + 1) |e|^2 (Goodfellow, "Efficient per-example gradient computations", 2015): no
row's gradient is ever written out.

What a row adds depends on the model and that row alone, to the last bit, however many rows stand beside it: matrix products that
are compiled for the shape of a whole block would not promise that, and one flipped ReLU of every other row would be no small
difference. Only the sum over rows is a matrix product; :mod:`..privacy` bounds its rounding.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np

from tallystick_node.engines.compiled import compiled
from tallystick_node.engines.fl.parameters import Vector

Layer = tuple[Vector, Vector]  # weight of shape (inputs, outputs), intercept of shape (outputs,)
Loss = Literal["cross-entropy", "squared"]

_BLOCK = 4096  # rows at a time


def add_clipped(
    layers: Sequence[Layer], slots: Sequence[Layer], loss: Loss, features: Vector, targets: Vector, norm: float
) -> None:
    """Add to ``slots`` the gradients of the loss at every row, each cut to L2 ``norm`` over all layers.

    ReLU is between the layers; after the last comes the softmax ("cross-entropy", targets are classes) or nothing ("squared", half
    the squared error of one output). Finite rows are taken, (rows, inputs) and (rows,); a row whose gradient is not finite adds
    nothing: an error would tell of it.
    """
    with np.errstate(all="ignore"):
        for first in range(0, len(features), _BLOCK):
            _add_block(layers, slots, loss, features[first : first + _BLOCK], targets[first : first + _BLOCK], norm)


def _add_block(layers: Sequence[Layer], slots: Sequence[Layer], loss: Loss, features: Vector, targets: Vector, norm: float) -> None:
    inputs = [features]
    for number, (weight, bias) in enumerate(layers):
        out = np.empty((len(features), len(bias)))
        _forward(out, inputs[-1], weight, bias)
        if number < len(layers) - 1:
            np.maximum(out, 0, out=out)
        inputs.append(out)
    errors = inputs.pop()
    if loss == "cross-entropy":
        _softmax_errors(errors, targets)
    else:
        errors -= targets[:, None]
    squares = np.zeros(len(features))
    leaving = [errors]
    for number in reversed(range(len(layers))):
        _add_squares(squares, inputs[number], errors)
        if number:
            back = np.empty_like(inputs[number])
            _backward(back, errors, layers[number][0], inputs[number])
            errors = back
            leaving.append(errors)
    factors = np.where(squares > norm**2, norm / np.sqrt(squares), 1.0)
    lost = ~np.isfinite(squares)
    for number, each in enumerate(reversed(leaving)):
        each *= factors[:, None]
        if lost.any():
            each[lost] = 0
            inputs[number] = np.where(lost[:, None], 0, inputs[number])
        slots[number][0][...] += inputs[number].T @ each
        slots[number][1][...] += each.sum(axis=0)


@compiled
def _forward(out: Vector, rows: Vector, weight: Vector, bias: Vector) -> None:
    for i in range(out.shape[0]):
        for k in range(out.shape[1]):
            out[i, k] = bias[k]
        for j in range(rows.shape[1]):
            for k in range(out.shape[1]):
                out[i, k] += rows[i, j] * weight[j, k]


@compiled
def _softmax_errors(scores: Vector, targets: Vector) -> None:
    for i in range(scores.shape[0]):
        top = scores[i, 0]
        for k in range(scores.shape[1]):
            top = max(top, scores[i, k])
        total = 0.0
        for k in range(scores.shape[1]):
            scores[i, k] = np.exp(scores[i, k] - top)
            total += scores[i, k]
        for k in range(scores.shape[1]):
            scores[i, k] /= total
        scores[i, int(targets[i])] -= 1.0


@compiled
def _backward(out: Vector, errors: Vector, weight: Vector, entered: Vector) -> None:
    for i in range(out.shape[0]):
        for j in range(out.shape[1]):
            total = 0.0
            if entered[i, j] > 0:
                for k in range(errors.shape[1]):
                    total += errors[i, k] * weight[j, k]
            out[i, j] = total


@compiled
def _add_squares(squares: Vector, entered: Vector, errors: Vector) -> None:
    for i in range(len(squares)):
        inside, outside = 1.0, 0.0
        for j in range(entered.shape[1]):
            inside += entered[i, j] * entered[i, j]
        for k in range(errors.shape[1]):
            outside += errors[i, k] * errors[i, k]
        squares[i] += inside * outside
