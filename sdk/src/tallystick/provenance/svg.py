"""A self-contained SVG drawing of a graph: six columns from participants to result files, edges coloured by their proof.

Certificates, algorithms and reviews stand in their participant's card, files in that of the result that names them; attempts,
agreements, disputes and breaches in their task's. Only edges between neighbouring columns are drawn; who asked and who received
stands in the cards, so no line crosses a column. Labels come from certificates and bundles and are hostile: control characters go,
text is cut and escaped, and each card clips what it holds.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass, field
from xml.sax.saxutils import escape

from tallystick.provenance.graph import Graph, Kind, Node, Strength
from tallystick.provenance.table import caption

WIDTH = 1440
CARD = 184
PAD = 10
GAP_Y = 16
LINE = 16
TOP = 132
TITLES = ("Participants", "Datasets", "Grants", "Tasks", "Proofs", "Result files")
STROKES = {
    Strength.SUM_IN_RANGE: ("#07603a", "3.0", "", "sum and ranges of inputs verified by the chain"),
    Strength.SUM_VERIFIED: ("#0a7d4b", "2.6", "", "sum verified by the chain"),
    Strength.VECTOR_SUM_VERIFIED: ("#0b6f6f", "2.6", "", "sum of committed vectors verified by the chain"),
    Strength.PROJECTION_VERIFIED: ("#0f8a8a", "2.4", "", "sum of projections checked by the chain"),
    Strength.GROTH16: ("#a0447a", "2.4", "", "proof of a registered circuit verified by the chain"),
    Strength.ATTESTED_HARDWARE: ("#6b4fb3", "2.4", "", "attested, hardware: quote checked by the chain"),
    Strength.ATTESTED_HARDWARE_QUORUM: ("#6b4fb3", "2.3", "8 2", "attested, hardware: vouched for by a quorum of verifiers"),
    Strength.ATTESTED_SIMULATED: ("#6b4fb3", "2.2", "2 3", "attested, simulated: quote checked by the chain"),
    Strength.PROJECTION_VERIFIED_ABSENT_1: ("#0f8a8a", "2.4", "12 3", "the same, one party may be absent"),
    Strength.PROJECTION_VERIFIED_ABSENT_2: ("#0f8a8a", "2.4", "9 3", "the same, two parties may be absent"),
    Strength.PROJECTION_VERIFIED_ABSENT_3: ("#0f8a8a", "2.4", "6 3", "the same, three parties may be absent"),
    Strength.SIGNED_BY_ALL: ("#1f5fbf", "2.2", "", "signed by all parties, checked by the chain"),
    Strength.CHAIN: ("#5b6270", "1.4", "", "recorded by a contract"),
    Strength.DOCUMENT: ("#b0661c", "1.6", "5 4", "document whose digest is on chain"),
}
FILLS = (
    ("#eef3fb", "#2f5d9e"),
    ("#eef7f1", "#2d7a50"),
    ("#fbf5e9", "#98701c"),
    ("#f4effa", "#6a4a9c"),
    ("#fdeff0", "#a4404d"),
    ("#f1f3f5", "#4b5563"),
)
_COLUMN = {Kind.PARTICIPANT: 0, Kind.DATASET: 1, Kind.GRANT: 2, Kind.TASK: 3, Kind.STATEMENT: 4, Kind.RESULT: 5}
#: What is shown in the card of something else.
_NESTED = {
    Kind.CERTIFICATE: Kind.PARTICIPANT,
    Kind.ATTEMPT: Kind.TASK,
    Kind.FILE: Kind.RESULT,
    Kind.AGREEMENT: Kind.TASK,
    Kind.DISPUTE: Kind.TASK,
    Kind.BREACH: Kind.TASK,
    Kind.ALGORITHM: Kind.PARTICIPANT,
    Kind.REVIEW: Kind.PARTICIPANT,
}
_NARROW, _WIDE = frozenset("iljtfrI.,:;'|!()[]{}- "), frozenset("mwMW@%…")


@dataclass
class _Card:
    column: int
    title: str
    lines: list[str] = field(default_factory=list)
    whole: str = ""  # what a pointer over the card shows: nothing there is cut
    order: float = 0.0
    y: float = 0.0

    @property
    def height(self) -> int:
        return 34 + LINE * len(self.lines)

    @property
    def middle(self) -> float:
        return self.y + self.height / 2


def draw(graph: Graph, title: str = "Provenance") -> str:
    """The drawing, a complete SVG document of width 1440, dark on light."""
    home, cards = _cards(graph)
    links = _links(graph, home, cards)
    _arrange(cards, links)
    height = int(max([card.y + card.height for card in cards.values()], default=TOP + 24)) + 40
    parts = [
        (
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" viewBox="0 0 {WIDTH} {height}" '
            'role="img" font-family="Inter, Helvetica, Arial, \'DejaVu Sans\', sans-serif">'
        ),
        f"<title>{_text(title, 200)}</title>",
        f'<rect width="{WIDTH}" height="{height}" fill="#ffffff"/>',
        f'<text x="24" y="36" font-size="20" font-weight="600" fill="#1b1f27">{_fitted(title, WIDTH - 48, 20, bold=True)}</text>',
        f'<text x="24" y="58" font-size="12" fill="#5b6270">{_text(caption(graph), 150)}</text>',
        *_legend(set(links.values())),
    ]
    for index, name in enumerate(TITLES):
        parts.append(
            f'<text x="{_x(index)}" y="{TOP - 14}" font-size="12" font-weight="600" letter-spacing="0.6" '
            f'fill="{FILLS[index][1]}">{name.upper()}</text>'
        )
        if not any(card.column == index for card in cards.values()):
            parts.append(f'<text x="{_x(index)}" y="{TOP + 16}" font-size="11" fill="#8a919e">none</text>')
    parts += [_curve(cards[source], cards[target], strength) for (source, target), strength in links.items()]
    parts += [_box(card) for card in cards.values()]
    return "\n".join([*parts, "</svg>", ""])


def _cards(graph: Graph) -> tuple[dict[str, str], dict[str, _Card]]:
    """The card that each node is shown in, and the cards."""
    home: dict[str, str] = {}
    cards: dict[str, _Card] = {}
    for node in graph.nodes.values():
        if node.kind in _COLUMN:
            home[node.id] = node.id
            cards[node.id] = _Card(_COLUMN[node.kind], _title(node), _lines(graph, node))
            cards[node.id].whole = "\n".join([f"{node.kind} {node.id.partition(':')[2]}", node.label, *_said(graph, node)])
    for edge in graph.edges:
        inner = graph.nodes[edge.target if edge.source in cards else edge.source]
        outer = edge.source if inner.id == edge.target else edge.target
        nested = _NESTED.get(inner.kind)
        if nested is None or outer not in cards or graph.nodes[outer].kind is not nested:
            continue
        home[inner.id] = outer
        cards[outer].lines += _nested_lines(graph, inner)
    for node in graph.nodes.values():
        if node.id not in home:  # its card is not part of this answer: it stands for itself
            column = _COLUMN[_NESTED[node.kind]]
            home[node.id] = node.id
            cards[node.id] = _Card(column, f"{node.kind} {node.label}")
    return home, cards


def _title(node: Node) -> str:
    if node.kind is Kind.PARTICIPANT:
        return node.label
    if node.kind is Kind.DATASET:
        return f"{node.label}  v{node.attributes['version']}"
    return node.label.removeprefix("sha256:")


def _lines(graph: Graph, node: Node) -> list[str]:
    return [line for said in _said(graph, node) for line in _wrapped(said)]


def _said(graph: Graph, node: Node) -> list[str]:
    had = node.attributes
    if node.kind is Kind.PARTICIPANT:
        return [*([had["roles"]] if "roles" in had else []), *([had["status"]] if had["status"] != "active" else [])]
    if node.kind is Kind.DATASET:
        return [f"withdrawn at block {had['withdrawn_at_block']}"] if "withdrawn_at_block" in had else []
    if node.kind is Kind.GRANT:
        said = [f"for {_who(graph, had['grantee'])}", f"used {had['used']} of {had['uses']}"]
        said += [had["purpose"]] if "purpose" in had else []
        return said + ([f"revoked at block {had['revoked_at_block']}"] if "revoked_at_block" in had else [])
    if node.kind is Kind.TASK:
        said = [f"{had['workload']}: {had['purpose']}"] if "purpose" in had else []
        return [*said, f"asked by {_who(graph, had['requester'])}", had["state"]]
    found = [f"{name}: {had[name]}" for name in ("finding", "unread") if name in had]
    if node.kind is Kind.RESULT:
        return [f"to {_who(graph, had['receiver'])}", *found]
    return [had["proof"], *(["void: a dispute was upheld"] if "void" in had else []), *found]


def _nested_lines(graph: Graph, node: Node) -> list[str]:
    had = node.attributes
    if node.kind is Kind.CERTIFICATE:
        return [f"certificate {node.label}"]
    if node.kind is Kind.FILE:
        return [f"with {node.label}"]
    if node.kind is Kind.AGREEMENT:
        return _wrapped(f"{node.label}: {had['stage']}")
    if node.kind is Kind.DISPUTE:
        about = _who(graph, had["accused"]) if had["accused"] else "the statement"
        return _wrapped(f"dispute about {about}: {had['outcome']}")
    if node.kind is Kind.BREACH:
        return _wrapped(f"breach: {_who(graph, had['accused'])} {had['breach']}")
    if node.kind is Kind.ALGORITHM:
        return _wrapped(f"{had['code_kind']} code {node.label}")
    if node.kind is Kind.REVIEW:
        return _wrapped(node.label)
    return [f"{node.label}: {had.get('state', 'accepting')}", *(_wrapped(f"code: {had['reviews']}") if "reviews" in had else [])]


def _who(graph: Graph, account: str) -> str:
    node = graph.nodes.get(f"{Kind.PARTICIPANT}:{account}")
    return node.label if node else f"{account[:8]}…{account[-4:]}"


def _links(graph: Graph, home: dict[str, str], cards: dict[str, _Card]) -> dict[tuple[str, str], Strength]:
    """Edges between cards of neighbouring columns, each with the strongest proof among the edges it stands for."""
    rank = list(Strength)
    links: dict[tuple[str, str], Strength] = {}
    for edge in graph.edges:
        if edge.relation == "is the grantee of":  # said in the grant's card
            continue
        pair = (home[edge.source], home[edge.target])
        if cards[pair[1]].column - cards[pair[0]].column != 1:
            continue
        known = links.get(pair)
        if known is None or rank.index(edge.strength) < rank.index(known):
            links[pair] = edge.strength
    return links


def _arrange(cards: dict[str, _Card], links: dict[tuple[str, str], Strength]) -> None:
    """Order each column by the mean position of its neighbours (barycentre heuristic), then stack and centre it."""
    columns = [[name for name, card in cards.items() if card.column == index] for index in range(len(TITLES))]
    for column in columns:
        for position, name in enumerate(column):
            cards[name].order = position / max(1, len(column))
    for _ in range(4):
        for column in (*columns, *reversed(columns)):
            for name in column:
                near = [cards[b if a == name else a].order for a, b in links if name in (a, b)]
                cards[name].order = sum(near) / len(near) if near else cards[name].order
            column.sort(key=lambda name: cards[name].order)
            for position, name in enumerate(column):
                cards[name].order = (position + 0.5) / len(column)
    _place(cards, links, columns)


def _place(cards: dict[str, _Card], links: dict[tuple[str, str], Strength], columns: list[list[str]]) -> None:
    """Stack the tallest column, then set each other card as near as may be to the middle of those it is linked with."""
    heights = [sum(cards[name].height + GAP_Y for name in column) for column in columns]
    first = heights.index(max(heights))
    placed: set[str] = set()
    for index in (first, *range(first - 1, -1, -1), *range(first + 1, len(columns))):
        column = columns[index]
        wanted: dict[str, float] = {}
        for name in column:
            near = [cards[b if a == name else a].middle for a, b in links if name in (a, b) and (b if a == name else a) in placed]
            if near:
                wanted[name] = sum(near) / len(near) - cards[name].height / 2
        # Cards without a link to what is placed already go below the others.
        if index != first:
            column.sort(key=lambda name: wanted.get(name, float("inf")))
        lowest = max(wanted.values(), default=float(TOP))
        _stack([cards[name] for name in column], [wanted.get(name, lowest) for name in column])
        placed.update(column)


def _stack(cards: list[_Card], wanted: list[float]) -> None:
    """Positions that keep the order and overlap nowhere, as near to the wanted ones as that allows (isotonic regression)."""
    offsets, blocks = [], []
    offset = 0.0
    for card, want in zip(cards, wanted, strict=True):
        offsets.append(offset)
        offset += card.height + GAP_Y
        blocks.append([want - offsets[-1], 1.0])
        while len(blocks) > 1 and blocks[-2][0] >= blocks[-1][0]:
            value, count = blocks.pop()
            blocks[-1] = [(blocks[-1][0] * blocks[-1][1] + value * count) / (blocks[-1][1] + count), blocks[-1][1] + count]
    starts = [value for value, count in blocks for _ in range(int(count))]
    for card, start, below in zip(cards, starts, offsets, strict=True):
        card.y = max(float(TOP), start) + below


def _x(column: int) -> int:
    return 24 + column * (WIDTH - 48 - CARD) // (len(TITLES) - 1)


def _curve(source: _Card, target: _Card, strength: Strength) -> str:
    colour, width, dash, _ = STROKES[strength]
    x1, y1 = _x(source.column) + CARD, source.middle
    x2, y2 = _x(target.column), target.middle
    middle = (x1 + x2) / 2
    dashed = f' stroke-dasharray="{dash}"' if dash else ""
    return (
        f'<path d="M{x1} {y1:.1f} C{middle} {y1:.1f} {middle} {y2:.1f} {x2} {y2:.1f}" fill="none" '
        f'stroke="{colour}" stroke-width="{width}"{dashed}/>'
    )


def _box(card: _Card) -> str:
    x, (fill, stroke) = _x(card.column), FILLS[card.column]
    room = CARD - 2 * PAD
    # A nested svg clips: whatever a name holds, it stays in its card.
    lines = [
        f'<svg x="{x}" y="{card.y:.1f}" width="{CARD}" height="{card.height}">',
        f"<title>{_text(card.whole, 600)}</title>" if card.whole else "",
        (
            f'<rect x="0.6" y="0.6" width="{CARD - 1.2}" height="{card.height - 1.2}" rx="6" fill="{fill}" '
            f'stroke="{stroke}" stroke-width="1.2"/>'
        ),
        (
            f'<text x="{PAD}" y="21" font-size="13" font-weight="600" fill="#1b1f27">'
            f"{_fitted(card.title, room, 13, bold=True)}</text>"
        ),
    ]
    for index, line in enumerate(card.lines):
        lines.append(f'<text x="{PAD}" y="{38 + LINE * index}" font-size="11" fill="#444b58">{_fitted(line, room, 11)}</text>')
    return "\n".join([*filter(None, lines), "</svg>"])


def _legend(drawn: set[Strength]) -> list[str]:
    """What the lines mean: of those that are drawn."""
    parts, x = [], 24
    for strength, (colour, width, dash, words) in STROKES.items():
        if strength not in drawn:
            continue
        dashed = f' stroke-dasharray="{dash}"' if dash else ""
        parts.append(f'<path d="M{x} 82 h28" stroke="{colour}" stroke-width="{width}"{dashed}/>')
        parts.append(f'<text x="{x + 34}" y="86" font-size="11" fill="#444b58">{words}</text>')
        x += 60 + 6 * len(words)
    return parts


def _wrapped(said: str, most: int = 3) -> list[str]:
    """A saying in at most ``most`` lines, broken after commas, colons, slashes and spaces."""
    lines = [""]
    for piece in re.split(r"(?<=[,:/ ])", _clean(said)):
        if lines[-1] and _width(lines[-1] + piece.rstrip(), 11) > CARD - 2 * PAD and len(lines) < most:
            lines.append("")
        lines[-1] += piece
    return [line.strip() for line in lines]


def _width(text: str, size: float, *, bold: bool = False) -> float:
    """About how wide a text is: fonts differ, so this is a little more than most of them need."""
    units = 0.0
    for character in text:
        if unicodedata.east_asian_width(character) in "WF":
            units += 1.0
        elif character in _NARROW:
            units += 0.40
        elif character in _WIDE:
            units += 1.0
        else:
            units += 0.72 if character.isupper() else 0.62
    return units * size * (1.1 if bold else 1.0)


def _fitted(value: str, room: float, size: float, *, bold: bool = False) -> str:
    """XML text that is at most ``room`` wide."""
    clean = _clean(value)
    if _width(clean, size, bold=bold) > room:
        while clean and _width(clean + "…", size, bold=bold) > room:
            clean = clean[:-1]
        clean += "…"
    return escape(clean, {'"': "&quot;"})


def _text(value: str, most: int) -> str:
    """XML text of at most ``most`` characters."""
    clean = "\n".join(_clean(line) for line in value.split("\n"))
    cut = clean if len(clean) <= most else clean[: most - 1] + "…"
    return escape(cut, {'"': "&quot;"})


def _clean(value: str) -> str:
    """Text without control, surrogate, unassigned or bidirectional control characters."""
    return "".join(character if unicodedata.category(character)[0] != "C" else "�" for character in value)
