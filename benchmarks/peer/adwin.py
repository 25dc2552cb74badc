"""ADWIN of river, the best off-the-shelf detector of drift: https://riverml.xyz/latest/api/drift/ADWIN/.

A rule on the training loss alone, at its defaults (δ = 0.002); a rise is an alarm, and a fall is what training is for.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from peer.protocol import Finding, Row, Tool, is_training


class Adapter(Tool):
    title = "ADWIN"
    requires = ("river==0.26.1",)
    package = "river"
    documentation = "https://riverml.xyz/latest/api/drift/ADWIN/"
    families: Mapping[str, tuple[str, ...]] = {"drift upward": ("spike", "divergence")}
    note = "Sees the training loss and nothing else."

    def follow(self) -> Callable[[Row], list[Finding]]:
        from known_rules import rises

        rose = rises()

        def watch(row: Row) -> list[Finding]:
            return [Finding("drift upward", "warning", row.get("step"))] if is_training(row) and rose(float(row["loss"])) else []

        return watch
