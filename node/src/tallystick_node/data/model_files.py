"""An imported model as files: what its owner publishes as a dataset, and what goes into tasks."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
from tallystick.protocol.errors import Configuration, InvalidData

from tallystick_node.data.onnx_model import Imported
from tallystick_node.workloads.plans.architecture import WEIGHT

DIGITS = 9  # of a weight, after the point


def write_model(imported: Imported, folder: Path) -> list[Path]:
    """Write the secret ``weights.csv``, readable by its owner alone, and the public ``architecture.json`` and ``features.json``.

    Raises Configuration when the folder has files already or cannot be written, and InvalidData for a scaler's number that no task
    can state.
    """
    model = imported.architecture.model
    centers, scales = imported.scaling or (np.zeros(model.features), np.ones(model.features))
    features = [{"center": _decimal(center), "scale": _decimal(scale)} for center, scale in zip(centers, scales, strict=True)]
    texts = {
        "weights.csv": f"{WEIGHT}\n" + "".join(f"{each:.{DIGITS}f}\n" for each in imported.weights.tolist()),
        "architecture.json": json.dumps(imported.architecture.to_json(), indent=1) + "\n",
        "features.json": json.dumps(features, indent=1) + "\n",
    }
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if any(folder.iterdir()):
            raise Configuration(f"{folder} has files already", remedy="name a new folder")
        for name, text in texts.items():
            with os.fdopen(os.open(folder / name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
                file.write(text)
    except OSError as error:
        raise Configuration(f"{folder} cannot be written: {error.strerror}", remedy="name a new folder") from None
    return [folder / name for name in texts]


def _decimal(number: Any) -> str:
    """The decimal text of a center or scale, as tasks state it."""
    text: str = np.format_float_positional(number, precision=15, trim="-")
    if abs(number) >= 10**15 or (number and not float(text)):
        raise InvalidData("a scaler's number is too large or too small", remedy="scale the features in other units")
    return text
