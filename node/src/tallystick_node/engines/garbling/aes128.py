"""AES-128 as a circuit (FIPS 197), key schedule included: 6400 AND gates.

The S-box is the straight-line program of 32 AND gates of Boyar and Peralta (SEA 2010; 113 gates in all in the later refinement by
Calik). Everything else in AES is linear, and so free when garbled.
"""

from __future__ import annotations

from functools import cache

from tallystick_node.engines.garbling.builder import Builder, Word
from tallystick_node.engines.garbling.circuit import Circuit

_ROUNDS = 10

# x0 to x7 are the input's bits, the most significant first, s0 to s7 the output's; = of two names and +, * or # (XOR, AND, XNOR).
_SBOX = """
y14=x3+x5 y13=x0+x6 y9=x0+x3 y8=x0+x5 t0=x1+x2 y1=t0+x7 y4=y1+x3 y12=y13+y14 y2=y1+x0 y5=y1+x6 y3=y5+y8 t1=x4+y12 y15=t1+x5
y20=t1+x1 y6=y15+x7 y10=y15+t0 y11=y20+y9 y7=x7+y11 y17=y10+y11 y19=y10+y8 y16=t0+y11 y21=y13+y16 y18=x0+y16
t2=y12*y15 t3=y3*y6 t4=t3+t2 t5=y4*x7 t6=t5+t2 t7=y13*y16 t8=y5*y1 t9=t8+t7 t10=y2*y7 t11=t10+t7 t12=y9*y11 t13=y14*y17
t14=t13+t12 t15=y8*y10 t16=t15+t12 t17=t4+t14 t18=t6+t16 t19=t9+t14 t20=t11+t16 t21=t17+y20 t22=t18+y19 t23=t19+y21 t24=t20+y18
t25=t21+t22 t26=t21*t23 t27=t24+t26 t28=t25*t27 t29=t28+t22 t30=t23+t24 t31=t22+t26 t32=t31*t30 t33=t32+t24 t34=t23+t33
t35=t27+t33 t36=t24*t35 t37=t36+t34 t38=t27+t36 t39=t29*t38 t40=t25+t39 t41=t40+t37 t42=t29+t33 t43=t29+t40 t44=t33+t37
t45=t42+t41
z0=t44*y15 z1=t37*y6 z2=t33*x7 z3=t43*y16 z4=t40*y1 z5=t29*y7 z6=t42*y11 z7=t45*y17 z8=t41*y10 z9=t44*y12 z10=t37*y3 z11=t33*y4
z12=t43*y13 z13=t40*y5 z14=t29*y2 z15=t42*y9 z16=t45*y14 z17=t41*y8
t46=z15+z16 t47=z10+z11 t48=z5+z13 t49=z9+z10 t50=z2+z12 t51=z2+z5 t52=z7+z8 t53=z0+z3 t54=z6+z7 t55=z16+z17 t56=z12+t48
t57=t50+t53 t58=z4+t46 t59=z3+t54 t60=t46+t57 t61=z14+t57 t62=t52+t58 t63=t49+t58 t64=z4+t59 t65=t61+t62 t66=z1+t63
s0=t59+t63 s6=t56#t62 s7=t48#t60 t67=t64+t65 s3=t53+t66 s4=t51+t66 s5=t47+t65 s1=t64#s3 s2=t55#t67
"""


@cache
def aes128() -> Circuit:
    """The circuit of one block: inputs the key and the block, output the encrypted block, each 128 bits of a big-endian string."""
    builder = Builder()
    key, block = (_octets(builder.input(128)) for _ in range(2))
    columns = [key[4 * i : 4 * i + 4] for i in range(4)]
    state = [builder.xor_words(a, b) for a, b in zip(block, key, strict=True)]
    constant = 1
    for number in range(1, _ROUNDS + 1):
        columns = _next_key(builder, columns, constant)
        constant = constant << 1 ^ (0x11B if constant & 0x80 else 0)
        state = [_substitute(builder, octet) for octet in state]
        state = [state[(i + 4 * (i % 4)) % 16] for i in range(16)]  # ShiftRows
        if number < _ROUNDS:
            state = [octet for i in range(0, 16, 4) for octet in _mix(builder, state[i : i + 4])]
        round_key = [octet for column in columns for octet in column]
        state = [builder.xor_words(a, b) for a, b in zip(state, round_key, strict=True)]
    builder.output([bit for octet in reversed(state) for bit in octet])
    return builder.build()


def _octets(word: Word) -> list[Word]:
    """The bytes of a big-endian string, the first first; each the least significant bit first."""
    return [word[i : i + 8] for i in reversed(range(0, len(word), 8))]


def _substitute(builder: Builder, octet: Word) -> Word:
    known = {f"x{i}": wire for i, wire in enumerate(reversed(octet))}
    for line in _SBOX.split():
        name, _, formula = line.partition("=")
        operator = next(sign for sign in "+*#" if sign in formula)
        a, b = (known[operand] for operand in formula.split(operator))
        known[name] = builder.and_(a, b) if operator == "*" else builder.xor(a, b)
        if operator == "#":
            known[name] = builder.not_(known[name])
    return [known[f"s{i}"] for i in reversed(range(8))]


def _mix(builder: Builder, column: list[Word]) -> list[Word]:
    """MixColumns: 2 a_i + 3 a_{i+1} + a_{i+2} + a_{i+3} in GF(2^8)."""
    doubled = [_double(builder, octet) for octet in column]
    return [
        builder.xor_words(doubled[i], doubled[(i + 1) % 4], column[(i + 1) % 4], column[(i + 2) % 4], column[(i + 3) % 4])
        for i in range(4)
    ]


def _double(builder: Builder, octet: Word) -> Word:
    top = octet[7]
    return [top, *(builder.xor(octet[i - 1], top) if i in (1, 3, 4) else octet[i - 1] for i in range(1, 8))]


def _next_key(builder: Builder, columns: list[list[Word]], constant: int) -> list[list[Word]]:
    turned = [_substitute(builder, columns[3][(i + 1) % 4]) for i in range(4)]
    turned[0] = [builder.not_(bit) if constant >> place & 1 else bit for place, bit in enumerate(turned[0])]
    key: list[list[Word]] = []
    for column in columns:
        turned = [builder.xor_words(a, b) for a, b in zip(column, turned, strict=True)]
        key.append(turned)
    return key
