"""How the learning rate moves, row by row: how steep, how often it repeats, and whether it froze in mid-schedule."""

from __future__ import annotations

from lossdoctor.stats import decimals, significant_digits

#: The digits of rates are counted until they are known to be so many.
DIGITS = 8
#: Schedules that have neither a flat peak nor a flat floor.
FALLS_AT_ONCE = ("linear", "cosine")


class Rates:
    """Takes the finite learning rates of the training rows; every attribute is about the last of them."""

    def __init__(self, schedule: object = None) -> None:
        self.schedule = schedule
        self.value: float | None = None
        self.highest = 0.0
        self.last_above_zero = 0.0
        self.repeats = 0  # rows running with the rate of the row before, to the last digit
        self.moves = 0  # rows running in which the rate changed, up to this row or to the first repeat
        self.slope = 0.0  # change per step between the last two different rates
        self.digits = self.decimals = 0  # as many as the rates so far were printed with
        self.frozen_since = 0  # first step whose row repeats the rate of the row before
        self.restarted = 0  # the last step at which a rate that had been falling rose again
        self._slope_before = 0.0
        self._steepest = [0.0, 0.0]  # falling, rising: a warm-up is often a hundred times steeper than the decay
        self._falls = 0

    def push(self, rate: float, step: int, window: int) -> None:
        """Takes the rate of the row that ends at `step` and covers `window` steps."""
        previous, self.value = self.value, rate
        if rate > self.highest:
            self.highest = rate
        if rate:
            self.last_above_zero = rate
        if rate == previous:
            if not self.repeats:
                self.frozen_since = step
            self.repeats += 1
            return
        if self.digits < DIGITS:  # a repr per row only then
            self.digits = max(self.digits, significant_digits(rate))
            self.decimals = max(self.decimals, decimals(rate))
        if previous is not None:
            self._move(rate - previous, previous, step, window)
        self.repeats = 0

    def _move(self, change: float, previous: float, step: int, window: int) -> None:
        self._slope_before, self.slope = self.slope, change / window
        slope = self.slope
        if slope > 0:
            if change > 0.2 * previous and self._falls >= 3 and "restart" not in str(self.schedule):
                self.restarted = step
            self._falls = 0
            self._steepest[1] = max(self._steepest[1], slope)
        else:
            self._falls += 1
            if -slope > self._steepest[0]:
                self._steepest[0] = -slope
        self.moves = 1 if self.repeats else self.moves + 1

    def stay(self, rows: int, step: int) -> None:
        """Goes on to the state that `push` with the same rate in so many rows leads to, the first of which ends at `step`."""
        if not self.repeats:
            self.frozen_since = step
        self.repeats += rows
        if self.value:
            self.last_above_zero = self.value

    def fall(self, rows: int, rate: float, slopes: tuple[float, float], steepest: float) -> None:
        """The same with so many rates, each below the one before, once their digits are known: the last, its two last slopes."""
        self.value = self.last_above_zero = rate
        self._slope_before, self.slope = slopes
        self._falls += rows
        self._steepest[0] = max(self._steepest[0], -steepest)
        self.moves = rows if self.repeats else self.moves + rows
        self.repeats = 0

    def frozen(self, step: int, window: int, moves: int = 2) -> bool:
        """Whether the rate repeats to the last digit after `moves` rows or more in which it moved.

        At the peak or on the floor of a schedule a repeat says nothing; a rate that was still moving says it all. The
        move that is missing must also be larger than the printed digits could hide.
        """
        rate = self.value
        if not rate or not self.repeats or self.moves < moves:
            return False
        if rate == self.highest and self.schedule not in FALLS_AT_ONCE:
            return False
        moving = max(abs(self.slope), abs(self._slope_before))  # the last move may have ended within its row
        if moving < 0.1 * self._steepest[self.slope > 0]:
            return False
        hidden = moving * (step - self.frozen_since + window)
        return hidden > 2 * rate * 10.0 ** (1 - self.digits)
