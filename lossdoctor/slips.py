"""Numbers that are read the wrong way round, and how to write them so that they are not.

5e-5 → 2e-4 raises a rate four times, and many read it as lowering it, since 2 is less than 5. Pure functions on plain values.
"""

from __future__ import annotations

from math import isclose, isfinite
from typing import Any

from lossdoctor.agreement import TOLERANCE, agree, number
from lossdoctor.language import later, plural, say

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


def three_digits(value: float) -> float:
    """The value to three digits; one half-way between two goes to the smaller, whatever the last bits of a sum are."""
    return float(f"{value * (1 - 1e-9):.3g}")


def in_epochs(epochs: float | None) -> str:
    """A number of epochs to three digits: 0.05, 2.5, 1,000."""
    epochs = epochs or 0.0
    return f"{epochs:.3g}" if epochs < 99.95 else f"{epochs:,.0f}"


def numbered(value: float, what: str) -> str:
    """A number of things that are named in the plural: `1 epoch`, `2.5 epochs`, `12,500 examples in a batch`."""
    number = f"{value:,.0f}" if value == int(value) else in_epochs(value)
    first, gap, rest = what.partition(" ")
    return plural(f"{{number}} {first.removesuffix('s')}{gap}{rest}", f"{{number}} {what}", value, number=number)


def plain(value: Any) -> str:
    """A number in both notations where they differ: "2e-4 (0.0002)"."""
    words = short(value)
    return f"{words} ({decimal(words)})" if "e-" in words and abs(value) >= SHORT_BELOW else words


def decimal(words: str) -> str:
    """A number without its exponent: "0.00005"."""
    from decimal import Decimal  # rarely needed, and costs a start-up

    return format(Decimal(words), "f")


def moved(name: str, before: Any, after: Any) -> bool:
    """Whether a change of a setting has a direction: both are numbers that differ, and more or less of them has a meaning."""
    one, other = number(before), number(after)
    return one is not None and other is not None and name not in NO_SIZE and not isclose(one, other, rel_tol=TOLERANCE)


def change_in_words(name: str, before: Any, after: Any, brief: bool = False) -> str:
    """What a change of a setting amounts to: "raised 4 times: 5e-5 is 0.00005, 2e-4 is 0.0002"; `brief` without the numbers."""
    one, other = number(before), number(after)
    if one is None or other is None or name in NO_SIZE:
        same = agree(name, before, after)
        if brief and not same:
            return say("changed")
        return (
            say("unchanged at {after}", after=short(after))
            if same
            else say("changed from {before} to {after}", before=short(before), after=short(after))
        )
    if isclose(one, other, rel_tol=TOLERANCE):
        return say("unchanged at {other}", other=plain(other))
    up = other > one
    if one == 0 or other == 0 or (one < 0) != (other < 0):
        if brief:
            return say("raised") if up else say("lowered")
        template = later("raised from {one} to {other}") if up else later("lowered from {one} to {other}")
        return say(template, one=plain(one), other=plain(other))
    factor = max(one / other, other / one)
    if factor < SLIGHT:
        if brief:
            return say(later("raised by {share:.2g} %") if up else later("lowered by {share:.2g} %"), share=100 * (factor - 1))
        template = later("raised by {share:.2g} %: {both}") if up else later("lowered by {share:.2g} %: {both}")
        return say(template, share=100 * (factor - 1), both=both_ways(one, other))
    if brief:
        return say(later("raised {times}") if up else later("lowered {times}"), times=in_times(factor))
    template = later("raised {times}: {both}") if up else later("lowered {times}: {both}")
    return say(template, times=in_times(factor), both=both_ways(one, other))


def in_times(factor: float) -> str:
    return (
        say("{factor:,.0f} times", factor=factor)
        if factor >= 100 or isclose(factor, round(factor), rel_tol=1e-3)
        else say("{factor:.3g} times", factor=factor)
    )


def both_ways(one: float, other: float) -> str:
    """Both numbers in plain decimal, where a power of ten may mislead."""
    words = [short(one), short(other)]
    if not any("e-" in word for word in words) or min(abs(one), abs(other)) < SHORT_BELOW:
        return say("from {first_words} to {second_words}", first_words=words[0], second_words=words[1])
    return ", ".join(say("{word} is {word2}", word=word, word2=decimal(word)) if "e-" in word else word for word in words)


def misleads(before: Any, after: Any) -> bool:
    """Whether the mantissa moves one way and the exponent, which decides, the other: that is where people slip."""
    one, other = number(before), number(after)
    if one is None or other is None or one <= 0 or other <= 0 or not any("e-" in short(number) for number in (one, other)):
        return False
    (first, low), (second, high) = (f"{number:.5e}".split("e") for number in (one, other))
    return (float(second) - float(first)) * (int(high) - int(low)) < 0
