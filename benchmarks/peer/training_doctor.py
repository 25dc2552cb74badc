"""training-doctor: https://pypi.org/project/training-doctor/ ("Drop into Any Training Loop", "Analyze Existing Logs").

Afterwards and row by row `Doctor().log(step, **metrics)` with the numbers of every row, as its callback would do. As shipped
that callback does not work in a Trainer: `shipped_callback` says what happens. A callback of four lines stands in for it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from peer.protocol import Finding, Row, Tool

READS = "from training_doctor import Doctor; [print(d) for d in Doctor().load({csv!r}).analyze()]"


class Adapter(Tool):
    title = "training-doctor"
    requires = ("training-doctor==0.1.0",)
    package = "training-doctor"
    documentation = "https://pypi.org/project/training-doctor/"
    in_trainer = True
    command = ("python", "-c", READS)
    families: Mapping[str, tuple[str, ...]] = {
        "lr_too_high": ("spike", "divergence", "not finite", "large gradient", "oscillation", "rate"),
        "lr_too_low": ("flat", "rate", "small gradient"),
        "plateau": ("flat", "converged"),
        "overfitting": ("overfitting", "memorisation"),
        "gradient_instability": ("large gradient", "small gradient", "not finite", "noise"),
    }
    note = (
        "Its callback for the Trainer does not work as shipped (an AttributeError when the Trainer is made), so one of four "
        "lines that calls `Doctor().log` stands in for it. Logs are fed to `Doctor().log`; the command is that of its README."
    )

    def follow(self) -> Callable[[Row], list[Finding]]:
        from training_doctor import Doctor

        doctor = Doctor()
        return lambda row: understood(doctor.log(row.get("step", 0), **numbers(row)))

    def callback(self) -> Any:
        from training_doctor import Doctor
        from transformers import TrainerCallback

        class Logging(TrainerCallback):
            doctor = Doctor()

            def on_log(self, args: Any, state: Any, control: Any, logs: Row | None = None, **kwargs: Any) -> None:
                self.doctor.log(state.global_step, **numbers(logs or {}))

        return Logging()

    def heard(self, callback: Any) -> list[Finding]:
        return understood(callback.doctor.diagnoses)

    def filled(self, rows: Sequence[Row]) -> Callable[[int, Row], None]:
        """Rows before the ones that are timed go into its store unjudged: judging 20,000 would take minutes."""
        from training_doctor import Doctor

        doctor = Doctor()
        for step, row in enumerate(rows, start=1):
            doctor.store.log(step, **row)

        def log(step: int, row: Row) -> None:
            doctor.log(step, **row)

        return log


def numbers(row: Row) -> dict[str, float]:
    """What its callback takes of a log."""
    return {name: float(value) for name, value in row.items() if isinstance(value, int | float) and name != "step"}


def understood(diagnoses: Iterable[Any]) -> list[Finding]:
    """Its diagnoses."""
    return [Finding(d.detector_name, d.severity.value, d.step) for d in diagnoses]


def shipped_callback() -> str:
    """What becomes of its own callback in a Trainer; empty if it works."""
    from training_doctor.integrations import HuggingFaceCallback

    try:
        HuggingFaceCallback().on_init_end(None, None, None)  # type: ignore[attr-defined]
    except AttributeError as error:
        return str(error)
    return ""
