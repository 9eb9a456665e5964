"""From a model's scores to what is asked of it: the scores themselves, probabilities, or a class."""

from __future__ import annotations

from typing import Literal

from tallystick_node.engines.mpc.array import argmax, sigmoid, softmax
from tallystick_node.engines.mpc.array.secret import SecretArray

Link = Literal["identity", "sigmoid", "softmax"]
LINKS: tuple[Link, ...] = ("identity", "sigmoid", "softmax")
Output = Literal["raw", "probability", "class"]
OUTPUTS: tuple[Output, ...] = ("raw", "probability", "class")


def refusal(output: Output, link: Link, outputs: int) -> str:
    """Why a model of so many ``outputs`` has no such output, in words; empty when it has."""
    if output == "probability" and link == "identity":
        return "a model without sigmoid or softmax at its end gives no probabilities"
    if output == "class" and outputs == 1 and link != "sigmoid":
        return "a model with one output and no sigmoid at its end tells no classes"
    return ""


def answer(scores: SecretArray, link: Link, output: Output) -> SecretArray:
    """The output of scores of shape (n, outputs).

    ``raw``: the scores, before the link. ``probability``: after it; sigmoid errs by at most 1e-3. ``class``: integers of shape
    (n,), the place of the greatest score, of equal ones the first; of a single score 1 where it is above 0. Both links are
    monotone, so that a class needs neither. Raises ValueError where :func:`refusal` has words.
    """
    if words := refusal(output, link, scores.shape[1]):
        raise ValueError(words)
    if output == "raw":
        return scores
    if output == "probability":
        return sigmoid(scores) if link == "sigmoid" else softmax(scores, axis=1)
    if scores.shape[1] == 1:
        return (scores > 0).astype(int).reshape(scores.shape[0])
    return argmax(scores, axis=1)
