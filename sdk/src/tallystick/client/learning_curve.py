"""The learning curves of a trained model as a picture: losses and scores over the rounds, from the values of its result.

The drawing is an SVG of 640 by 400 that needs nothing else. Lines differ by colour (Okabe and Ito's, which colour-blind people tell
apart), by dashes and by marks, and the colours follow whether the reader's screen is light or dark. The values are hostile: every
number is read strictly and bounded, and names of metrics are short words.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tallystick.protocol.errors import MalformedDocument
from tallystick.protocol.fields import Fields

WIDTH, HEIGHT = 640, 400
MAX_ROUNDS = 10_000
MAX_MEASURE = 1e12
LOSSES = ("training loss", "loss", "mse")
_TOP, _BOTTOM = 92, 344
_MARKED = 40  # points up to which each is marked
_METRIC = re.compile(r"[a-z][a-z0-9_ -]{0,19}")
_NUMBER = re.compile(r"-?[0-9]{1,40}(\.[0-9]{1,40})?(e[+-]?[0-9]{1,3})?")
_LINES = (("a", ""), ("b", "7 3"), ("c", "2 3"), ("d", "9 3 2 3"))
_LIGHT = {"a": "#0072b2", "b": "#d55e00", "c": "#00795a", "d": "#a0528a"}
_DARK = {"a": "#56b4e9", "b": "#e69f00", "c": "#2ac79a", "d": "#e0a3c8"}


@dataclass(frozen=True)
class Curve:
    """One measure: how often the model had been trained, and what the measure was then."""

    name: str
    points: tuple[tuple[int, float], ...]


def curves(values: Mapping[str, Any]) -> list[Curve]:
    """The curves in the values of a training's result: losses first. Raises MalformedDocument where there are none.

    A round's training loss stands at the round's end; what held-out rows said of a model stands at the rounds that had made it.
    """
    if not isinstance(values.get("history"), list):
        raise MalformedDocument("the result has no history of rounds", remedy="give the result file of a training")
    found: dict[str, dict[int, float]] = {}
    last = {"round": values.get("rounds"), "loss": None, "validation": values.get("validation")}
    rounds = Fields({"history": values["history"]}, ("history",), "result.values").items("history", 1, MAX_ROUNDS, lambda it, _: it)
    for each in (*rounds, last):
        round_, loss, validation = _round(each)
        for name, value in validation.items():
            found.setdefault(name, {})[round_] = value
        if loss is not None:
            found.setdefault(LOSSES[0], {})[round_ + 1] = loss
    if not found:
        raise MalformedDocument("the result's history has no measures", remedy="hold rows out in the next training")
    order = sorted(found, key=lambda name: LOSSES.index(name) if name in LOSSES else len(LOSSES))
    return [Curve(name, tuple(sorted(found[name].items()))) for name in order]


def draw(values: Mapping[str, Any], title: str) -> str:
    """The picture, a complete SVG document; ``title`` is plain text of our own. Raises MalformedDocument."""
    found, kept = curves(values), int(values["rounds"])
    panels = [
        ("loss", [each for each in found if each.name in LOSSES]),
        ("score", [each for each in found if each.name not in LOSSES]),
    ]
    panels = [(name, held) for name, held in panels if held]
    width = WIDTH / len(panels)
    most = max(x for each in found for x, _ in each.points)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}" role="img">',
        f"<title>{title}</title>",
        _style(),
        f'<rect class="ground" width="{WIDTH}" height="{HEIGHT}"/>',
        f'<text class="ink" x="20" y="30" font-size="16" font-weight="600">{title}</text>',
    ]
    for number, (name, held) in enumerate(panels):
        parts += _panel(name, held, (number * width + 56, (number + 1) * width - 20), max(1, most), kept)
    said = f"rounds of training; dashed line: the model that was kept, after {kept}"
    parts.append(f'<text class="soft" x="{WIDTH / 2}" y="{HEIGHT - 14}" font-size="12" text-anchor="middle">{said}</text>')
    return "\n".join([*parts, "</svg>", ""])


def _style() -> str:
    """Plain rules, which viewers besides browsers understand too, and for dark screens others."""

    def lines(colours: Mapping[str, str]) -> str:
        return "".join(f".{name} .line{{stroke:{each}}}.{name} .mark{{fill:{each}}}" for name, each in colours.items())

    return (
        "<style>text{font-family:Inter,Helvetica,Arial,'DejaVu Sans',sans-serif}"
        ".line{fill:none;stroke-width:2;stroke-linejoin:round}.ground{fill:#fff}.ink{fill:#1b1f27}.soft{fill:#5b6270}.grid{stroke:#e3e6ea}.axis{stroke:#8a919e}"
        f".kept{{stroke:#8a919e;stroke-dasharray:3 3}}{lines(_LIGHT)}@media (prefers-color-scheme:dark){{.ground{{fill:#14171c}}"
        f".ink{{fill:#eef0f3}}.soft{{fill:#a7aeba}}.grid{{stroke:#2b3038}}{lines(_DARK)}}}</style>"
    )


def _round(value: Any) -> tuple[int, float | None, dict[str, float]]:
    if not isinstance(value, dict):
        raise MalformedDocument("result.values.history: not a list of objects")
    fields = Fields({name: value.get(name) for name in ("round", "validation")}, ("round", "validation"), "result.values.history")
    validation = fields.object("validation")
    if not all(_METRIC.fullmatch(name) for name in validation) or len(validation) > len(_LINES):
        raise MalformedDocument("result.values.history: a measure has no short name, or there are too many")
    loss = value.get("loss")
    return (
        fields.integer("round", 0, MAX_ROUNDS),
        None if loss is None else _number(loss),
        {name: _number(text) for name, text in validation.items()},
    )


def _number(value: Any) -> float:
    if not isinstance(value, str) or not _NUMBER.fullmatch(value) or abs(float(value)) > MAX_MEASURE:
        raise MalformedDocument(f"result.values: a measure is no decimal text of a number from -{MAX_MEASURE:g} to {MAX_MEASURE:g}")
    return float(value)


def _panel(name: str, held: Sequence[Curve], sides: tuple[float, float], most: int, kept: int) -> Iterator[str]:
    """One pair of axes with its curves: ``sides`` are its left and right edge."""
    left, right = sides
    heights = [y for each in held for _, y in each.points]
    low, high = min(heights), max(heights)
    if name == "loss" and 0 <= low < high / 2:
        low = 0.0
    ticks = _ticks(low, high, 5)
    low, high = min(low, ticks[0]), max(high, ticks[-1])

    def x_of(x: float) -> float:
        return left + (right - left) * x / most

    def y_of(y: float) -> float:
        return _BOTTOM - (_BOTTOM - _TOP) * (y - low) / (high - low)

    yield from _legend(held, left)
    for tick in ticks:
        yield f'<path class="grid" d="M{left:.1f} {y_of(tick):.1f}H{right:.1f}"/>'
        said = _label(tick, ticks)
        yield f'<text class="soft" x="{left - 6:.1f}" y="{y_of(tick) + 4:.1f}" font-size="11" text-anchor="end">{said}</text>'
    for tick in (each for each in _ticks(0, most, 5) if each == int(each) <= most):
        yield f'<path class="axis" d="M{x_of(tick):.1f} {_BOTTOM}v4"/>'
        yield f'<text class="soft" x="{x_of(tick):.1f}" y="{_BOTTOM + 17}" font-size="11" text-anchor="middle">{int(tick)}</text>'
    yield f'<path class="axis" d="M{left:.1f} {_BOTTOM}H{right:.1f}"/>'
    yield f'<path class="kept" d="M{x_of(min(kept, most)):.1f} {_TOP}V{_BOTTOM}"/>'
    for (style, dash), each in zip(_LINES, held, strict=False):
        dashed = f' stroke-dasharray="{dash}"' if dash else ""
        path = "L".join(f"{x_of(x):.1f} {y_of(y):.1f}" for x, y in each.points)
        yield f'<g class="{style}"><title>{_named(each)}</title><path class="line" d="M{path}"{dashed}/>'
        if len(each.points) <= _MARKED:
            yield "".join(_mark(style, x_of(x), y_of(y)) for x, y in each.points)
        yield "</g>"


def _legend(held: Sequence[Curve], left: float) -> Iterator[str]:
    """Name and last value of each curve, two in a row, above the axes."""
    for number, ((style, dash), each) in enumerate(zip(_LINES, held, strict=False)):
        x, y = left + 132 * (number % 2), _TOP - 36 + 16 * (number // 2)
        dashed = f' stroke-dasharray="{dash}"' if dash else ""
        yield f'<g class="{style}"><path class="line" d="M{x:.1f} {y}h22"{dashed}/>{_mark(style, x + 11, y)}</g>'
        yield f'<text class="ink" x="{x + 28:.1f}" y="{y + 4}" font-size="11">{_named(each)} {each.points[-1][1]:.3g}</text>'


def _named(curve: Curve) -> str:
    return "held-out loss" if curve.name == "loss" else curve.name


def _mark(style: str, x: float, y: float) -> str:
    """A disc, a square, a triangle or a diamond."""
    shape = {
        "a": "m-3 0a3 3 0 1 0 6 0a3 3 0 1 0 -6 0",
        "b": "m-2.7 -2.7h5.4v5.4h-5.4z",
        "c": "m0 -3.6l3.4 6h-6.8z",
        "d": "m0 -3.8l3.4 3.8l-3.4 3.8l-3.4 -3.8z",
    }[style]
    return f'<path class="mark" d="M{x:.1f} {y:.1f}{shape}"/>'


def _ticks(low: float, high: float, about: int) -> list[float]:
    """Round numbers from at most ``low`` to at least ``high``."""
    if high - low <= 1e-9 * max(abs(low), abs(high), 1e-9):
        low, high = low - max(abs(low), 1.0) / 2, high + max(abs(high), 1.0) / 2
    rough = (high - low) / about
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * each for each in (1, 2, 5, 10) if power * each >= rough * (1 - 1e-9))
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [step * each for each in range(first, last + 1)]


def _label(tick: float, ticks: Sequence[float]) -> str:
    step = ticks[1] - ticks[0]
    if max(map(abs, ticks)) >= 1e6 or step < 1e-6:
        return f"{tick:.3g}"
    return f"{tick:.{max(0, -math.floor(math.log10(step) + 1e-9))}f}"
