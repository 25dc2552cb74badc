"""The columns of probe records: what instruments inside a training tell, step by step, besides the log.

They stand in `Record.values` of the kind "probe", one record for a step in which something happened. Names are floats like any
other column; where a module or a layer has to be named, its name is part of the column.
"""

from __future__ import annotations

PREFIX = "probe/"

#: Micro-batches of this step whose loss was NaN or infinite, and the first of them, counted from 1.
NONFINITE_LOSSES = "probe/nonfinite_losses"
FIRST_NONFINITE = "probe/first_nonfinite"
#: Micro-batches of this step in which no token has a label.
UNLABELLED = "probe/unlabelled_batches"
#: 1 where labels were seen at all in this step, so that their absence is known.
LABELLED = "probe/labels_seen"
#: Micro-batches of this step, and of all steps so far.
MICRO_BATCHES = "probe/micro_batches"
BATCHES_SO_FAR = "probe/batches_so_far"
#: The loss scale after a step that overflowed, and how many optimizer steps were skipped in it.
LOSS_SCALE = "probe/loss_scale"
SKIPPED = "probe/skipped_steps"
#: Trainable parameter tensors, and those of them that hold a NaN or an infinity.
NONFINITE_WEIGHTS = "probe/nonfinite_weights"
WEIGHTS = "probe/weights"
#: 1 where the checkpoint with such weights was not written.
NOT_SAVED = "probe/not_saved"
#: The process that saw it, where several train together.
PROCESS = "probe/rank"
#: Followed by `output/`, `input/`, `parameter/` or `loss/` and the name of a module: the first tensor that was not finite.
FIRST_TENSOR = "probe/first_tensor/"
#: Followed by the name of a group of layers: the norm of its gradient.
GRADIENT_NORM = "probe/gradient_norm/"

#: What can be watched: the keys of `Run.watched`.
LOSSES, LABELS, SCALE = "losses of micro-batches", "labels", "loss scale"
