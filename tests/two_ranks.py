"""What `test_distributed.py` runs on every rank: a run that breaks, with a doctor that stops it and a sink that fails."""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent / "examples"))

import torch
from fp16_collapse import Counting, arguments, tiny_model
from transformers import Trainer

from lossdoctor import LossDoctorCallback


class NanOnOneRank(Trainer):
    """The loss of rank 1 alone is NaN from the eighth batch on."""

    batches = 0

    def compute_loss(self, *args: Any, **kwargs: Any) -> Any:
        loss = super().compute_loss(*args, **kwargs)
        self.batches += 1
        return loss * math.nan if self.args.process_index == 1 and self.batches >= 8 else loss


if __name__ == "__main__":
    folder = sys.argv[1]
    doctor = LossDoctorCallback("stop", sinks=[lambda event: 1 / 0])
    args = arguments(folder, fp16=False, max_steps=40, logging_steps=1, save_strategy="no", per_device_train_batch_size=4)
    trainer = NanOnOneRank(tiny_model(), args, train_dataset=Counting(), callbacks=[doctor])
    trainer.train()
    outcome = {"step": trainer.state.global_step, "verdict": doctor.report.verdict, "failure": doctor.failure}
    Path(folder, f"rank-{args.process_index}.json").write_text(json.dumps(outcome))
    torch.distributed.destroy_process_group()  # without it a rank may abort the other while it leaves
