"""Numbers that are read the wrong way round, and how to write them so that they are not.

5e-5 → 2e-4 raises a rate four times, and many read it as lowering it, since 2 is less than 5. Pure functions on plain values.
"""

from __future__ import annotations

from math import isclose, isfinite
from typing import Any

from lossdoctor.agreement import TOLERANCE, agree, number

#: Numbers from here on read well in plain decimal, smaller ones in powers of ten.
PLAIN_FROM = 0.01
#: Below this a plain decimal has more zeros than anybody counts.
SHORT_BELOW = 1e-9
#: A factor below this is told in per cent.
SLIGHT = 1.05
#: Numbers of which more or less has no meaning.
NO_SIZE = ("seed", "zero_stage", "compute_capability")


def short(value: Any) -> str:
    """A number as people write it: 2e-4, 1.5e-5, 0.05, 32; anything else as text."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return str(value).lower() if isinstance(value, bool) else str(value)
    if not isfinite(value):
        return str(value)
    if value == 0 or abs(value) >= PLAIN_FROM:
        return str(int(value)) if value == int(value) and abs(value) < 1e15 else f"{value:.6g}"
    mantissa, _, exponent = f"{value:.5e}".partition("e")
    return f"{mantissa.rstrip('0').rstrip('.')}e{int(exponent)}"


def in_epochs(epochs: float | None) -> str:
    """A number of epochs to three digits: 0.05, 2.5, 1,000."""
    epochs = epochs or 0.0
    return f"{epochs:.3g}" if epochs < 99.95 else f"{epochs:,.0f}"


def numbered(value: float, what: str) -> str:
    """A number of things that are named in the plural: `1 epoch`, `2.5 epochs`, `12,500 examples in a batch`."""
    number = f"{value:,.0f}" if value == int(value) else in_epochs(value)
    first, gap, rest = what.partition(" ")
    return f"{number} {first.removesuffix('s') if value == 1 else first}{gap}{rest}"


def plain(value: Any) -> str:
    """A number in both notations where they differ: "2e-4 (0.0002)"."""
    words = short(value)
    return f"{words} ({decimal(words)})" if "e-" in words and abs(value) >= SHORT_BELOW else words


def decimal(words: str) -> str:
    """A number without its exponent: "0.00005"."""
    from decimal import Decimal  # rarely needed, and costs a start-up

    return format(Decimal(words), "f")


def change_in_words(name: str, before: Any, after: Any) -> str:
    """What a change of a setting amounts to: "raised 4 times: 5e-5 is 0.00005, 2e-4 is 0.0002"."""
    one, other = number(before), number(after)
    if one is None or other is None or name in NO_SIZE:
        same = agree(name, before, after)
        return f"unchanged at {short(after)}" if same else f"changed from {short(before)} to {short(after)}"
    if isclose(one, other, rel_tol=TOLERANCE):
        return f"unchanged at {plain(other)}"
    verb = "raised" if other > one else "lowered"
    if one == 0 or other == 0 or (one < 0) != (other < 0):
        return f"{verb} from {plain(one)} to {plain(other)}"
    factor = max(one / other, other / one)
    if factor < SLIGHT:
        return f"{verb} by {100 * (factor - 1):.2g} %: {both_ways(one, other)}"
    return f"{verb} {in_times(max(one / other, other / one))}: {both_ways(one, other)}"


def in_times(factor: float) -> str:
    return f"{factor:,.0f} times" if factor >= 100 or isclose(factor, round(factor), rel_tol=1e-3) else f"{factor:.3g} times"


def both_ways(one: float, other: float) -> str:
    """Both numbers in plain decimal, where a power of ten may mislead."""
    words = [short(one), short(other)]
    if not any("e-" in word for word in words) or min(abs(one), abs(other)) < SHORT_BELOW:
        return f"from {words[0]} to {words[1]}"
    return ", ".join(f"{word} is {decimal(word)}" if "e-" in word else word for word in words)


def misleads(before: Any, after: Any) -> bool:
    """Whether the mantissa moves one way and the exponent, which decides, the other: that is where people slip."""
    one, other = number(before), number(after)
    if one is None or other is None or one <= 0 or other <= 0 or not any("e-" in short(number) for number in (one, other)):
        return False
    (first, low), (second, high) = (f"{number:.5e}".split("e") for number in (one, other))
    return (float(second) - float(first)) * (int(high) - int(low)) < 0
