"""Logs made of printed lines: what DeepSpeed, Megatron, torchtune, mmengine, progress bars and plain scripts leave behind."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import pytest
from conftest import ROOT, diagnose, slugs
from hypothesis import given, settings
from hypothesis import strategies as st

from lossdoctor.analysis import analyze, load
from lossdoctor.model import Log, LossDoctorError
from lossdoctor.readers import Source, read_file
from lossdoctor.readers.dialects import DIALECTS, dialects

LOGS = ROOT / "tests" / "logs"
#: What is in each folder that nothing is wrong with, and where a run is lost; the newest run of a log counts.
HEALTHY = (
    *("deepspeed/pipeline.log", "deepspeed/steps_only.log", "megatron/healthy.log", "torchtune/disk.txt", "torchtune/bar.log"),
    *(
        "mmengine/epochs.log",
        "mmengine/iterations.log",
        "mmengine/scalars.json",
        "progress_bar/kohya.log",
        "progress_bar/epochs.log",
    ),
    *("progress_bar/llama_recipes.log", "key_value/gnorm.log", "key_value/litgpt.log", "key_value/nanogpt.log"),
    *(
        "key_value/epochs.log",
        "key_value/batches.log",
        "key_value/deepspeed_script.log",
        "llama_factory/healthy.jsonl",
        "llama_factory/resumed.jsonl",
    ),
    *("json_lines/chart.json", "verl/grpo.log", "verl/tuning.log"),
    *("json_lines/plain.jsonl", "json_lines/swift.jsonl", "trainer_stdout/axolotl.log", "trainer_stdout/swift.log"),
    *("trainer_stdout/trl_dpo.log", "trainer_stdout/trl_grpo.log", "trainer_stdout/deepspeed_healthy.log"),
)
LOST = {
    "deepspeed/exhausted.log": "loss-scale-collapse",
    "deepspeed/only_overflows.log": "loss-scale-collapse",
    "megatron/nan_iterations.log": "loss-not-finite",
    "megatron/neox_overflow.log": "loss-not-finite",
    "torchtune/nan.txt": "loss-not-finite",
    "verl/nan.log": "loss-not-finite",
    "mmengine/xtuner_nan.log": "gradient-not-finite",
    "progress_bar/nan.log": "loss-not-finite",
    "key_value/litgpt_nan.log": "loss-not-finite",
    "key_value/nanogpt_nan.log": "loss-not-finite",
    "key_value/llama_recipes_nan.log": "eval-loss-not-finite",
    "llama_factory/restarted.jsonl": "loss-collapse-to-zero",
    "json_lines/updates_nan.log": "loss-not-finite",
    "json_lines/swift_nan.jsonl": "gradient-not-finite",
    "trainer_stdout/deepspeed_collapse.log": "loss-scale-collapse",
    "trainer_stdout/llama_factory_callbacks.log": "gradient-not-finite",
}


def logs(text: str) -> list[Log]:
    return read_file(Source("train.log", None, text))


def only(text: str) -> Log:
    (log,) = logs(text)
    return log


def kept(name: str) -> Log:
    """The one run in a log of ours."""
    (log,) = load(LOGS / name)
    return log


def column(log: Log, name: str, kind: str = "train") -> list[tuple[int, float]]:
    """Where a column stands, and what it says there."""
    return [(record.step, record.values[name]) for record in log.records if record.kind == kind and name in record.values]


def recognised(text: str) -> list[str]:
    """The dialects that recognise a text."""
    return [name for name, one in zip(DIALECTS, dialects(), strict=True) if one.recognise(Source("text", None, text))]


# The verdicts


@pytest.mark.parametrize("name", HEALTHY)
def test_nothing_critical_is_seen_in_a_healthy_log(name):
    """Whatever wrote it, a run that learns is not called lost."""
    assert all(report.verdict in ("healthy", "insufficient") for report in analyze(LOGS / name))


@pytest.mark.parametrize("name", LOST)
def test_a_lost_run_is_critical_whatever_wrote_its_log(name):
    """The newest run in it is critical, for the right reason."""
    report = analyze(LOGS / name)[-1]
    assert report.verdict == "critical" and LOST[name] in slugs(report)


# DeepSpeed

OVERFLOW = "[2024-05-11 10:12:05,310] [INFO] [loss_scaler.py:183:update_scale] [deepspeed] OVERFLOW! Rank 0 Skipping step. "
STEP = "[2023-12-29 13:02:49,647] [INFO] [logging.py:96:log_dist] [Rank 0] step={}, skipped={}, lr=[{}, {}], mom=[(0.9, 0.999)]\n"


def test_a_step_of_deepspeed_has_its_rate_its_loss_and_what_was_skipped():
    """The two lines of one step make one row; the overflows since the row before are counted in it."""
    log = kept("deepspeed/pipeline.log")
    first, second = log.records[:2]
    assert (first.step, first.values["loss_scale"], first.values["skipped_steps"]) == (10, 8192.0, 3.0)
    assert {"loss", "learning_rate"} <= first.values.keys() and "loss_scale" not in second.values
    assert [record.step for record in log.records] == list(range(10, 250, 10))


def test_settings_that_deepspeed_prints_are_facts():
    """Its configuration stands before the rows, as lines with dots and as JSON."""
    log = kept("deepspeed/pipeline.log")
    told = {name: log.run.get(name) for name in ("fp16", "bf16", "zero_stage", "gradient_accumulation_steps", "max_grad_norm")}
    assert told == {"fp16": True, "bf16": False, "zero_stage": 1, "gradient_accumulation_steps": 4, "max_grad_norm": 1.0}


def test_the_sum_of_skipped_steps_is_taken_apart():
    """`skipped=` counts from the start of the run; a row has what came since the row before."""
    log = only(STEP.format(10, 2, 1e-4, 1e-4) + STEP.format(20, 2, 2e-4, 2e-4) + STEP.format(30, 7, 3e-4, 3e-4))
    assert column(log, "skipped_steps") == [(10, 2.0), (20, 0.0), (30, 5.0)]
    assert column(log, "learning_rate") == [(10, 1e-4), (20, 2e-4), (30, 3e-4)]


@pytest.mark.parametrize(
    ("line", "scale"),
    [
        (OVERFLOW + "Attempted loss scale: 65536, reducing to 32768", 32768.0),
        (OVERFLOW + "Attempted loss scale: 65536, but hysteresis is 2. Reducing hysteresis to 1", 65536.0),
        ("[deepscale] OVERFLOW! Rank 0 Skipping step. Attempted loss scale: 65536.0, reducing to 32768.0", 32768.0),
        (
            "[deepspeed] fp16 dynamic loss scale overflow! Skipping step. Attempted loss scale: 65536.0, reducing to 32768.0",
            32768.0,
        ),
        ("OVERFLOW! Rank 0 Skipping step. Attempted loss scale: 65536, reducing to 32768", 32768.0),
        ("Reducing dynamic loss scale from 65536.0 to 32768.0", 32768.0),
    ],
)
def test_every_release_says_in_its_own_words_that_a_step_was_skipped(line, scale):
    """Each line is a skipped step with the loss scale after it; with hysteresis left the scale stays."""
    log = only(line + "\n" + line + "\n")
    assert [dict(record.values) for record in log.records] == [{"skipped_steps": 1.0, "loss_scale": scale}] * 2
    assert log.run.numbered and log.run.get("fp16") is True


def test_a_skipped_step_that_every_process_tells_counts_once():
    """Old releases print the line on every rank."""
    log = kept("deepspeed/only_overflows.log")
    assert len(log.records) == 33 and column(log, "loss_scale")[-1] == (33, 1.0)


def test_why_deepspeed_gave_up_is_said():
    """The exception at the smallest scale becomes a note, and the steps that were skipped at the end are rows."""
    log = kept("deepspeed/exhausted.log")
    assert any("gave up" in note for note in log.run.notes)
    assert log.records[-1].values["loss_scale"] == 1.0 and log.records[-1].step == 153


def test_overflows_between_the_rows_of_a_trainer_become_columns_of_the_rows():
    """The row after them has the loss scale and how many steps were skipped; those at the very end belong to the last."""
    log = kept("trainer_stdout/deepspeed_collapse.log")
    assert column(log, "loss_scale") == [(10, 16384.0), (140, 1024.0), (150, 1.0)]
    assert column(log, "skipped_steps") == [(10, 2.0), (140, 4.0), (150, 10.0)]
    assert log.run.get("fp16") is True and log.run.get("deepspeed") is True
    assert any("gave up" in note for note in log.run.notes)


def test_overflows_between_the_rows_of_a_script_become_columns_of_its_rows():
    """A training loop of one's own prints its loss, and DeepSpeed its overflows; beside a bar it is the same."""
    log = kept("key_value/deepspeed_script.log")
    assert column(log, "skipped_steps") == [(10, 2.0), (150, 1.0)] and column(log, "loss_scale") == [(10, 16384.0), (150, 8192.0)]
    frame = "\rtrain:  {}%|█    | {}/9 [00:01<00:09,  1.00it/s, loss=2.5]"
    bars = only(frame.format(11, 1) + f"\n{OVERFLOW}Attempted loss scale: 8, reducing to 4\n" + frame.format(22, 2))
    assert bars.run.kind == "progress_bar" and column(bars, "loss_scale") == [(2, 4.0)] and bars.run.get("fp16") is True


def test_skipped_steps_that_a_log_states_are_counted():
    """Their sum is named with its severity, and what the learning rate tells besides is not added to it."""
    rows = [
        {"step": 10 * n, "loss": 2.0 - n / 100, "learning_rate": 1e-4 * (1 - n / 50), "skipped_steps": 4.0} for n in range(1, 31)
    ]
    (symptom,) = (one for one in diagnose(rows, max_steps=500).symptoms if one.slug == "skipped-steps")
    assert (symptom.severity, symptom.series, symptom.evidence["skipped"]) == ("warning", "loss_scale", 120.0)


@pytest.mark.parametrize(("skipped", "critical"), [(10.0, True), (9.0, False)])
def test_a_loss_scale_of_one_is_lost_when_no_step_is_made(skipped, critical):
    """At 1 some steps may still be made; when all of them overflow there is nowhere left to go."""
    rows = [{"step": 10 * n, "loss": 2.0 - n / 100, "loss_scale": 8.0, "skipped_steps": 0.0} for n in range(1, 13)]
    rows.append({"step": 130, "loss": 1.9, "loss_scale": 1.0, "skipped_steps": skipped})
    assert any(one.slug == "loss-scale-collapse" for one in diagnose(rows).symptoms) is critical


# Megatron


def test_a_row_of_megatron_is_read_with_its_own_steps_and_total():
    """Fields stand between bars; the total of the iterations is `max_steps`, and what is pace is no measurement."""
    log = kept("megatron/healthy.log")
    assert [record.step for record in log.records if record.kind == "train"] == list(range(10, 250, 10))
    first = next(iter(log.records))
    assert first.values.keys() == {"learning_rate", "loss", "loss_scale", "grad_norm", "skipped_steps", "nan_iterations"}
    assert (log.run.get("max_steps"), log.run.get("fp16"), log.run.get("learning_rate")) == (240, True, 0.0003)
    assert (log.run.get("per_device_train_batch_size"), log.run.get("lr_scheduler_type")) == (4, "cosine")


def test_an_evaluation_of_megatron_is_one_and_a_test_is_none():
    """`validation loss at iteration N` has its own iteration; what is measured on the test set says nothing of training."""
    log = kept("megatron/healthy.log")
    assert [step for step, _ in column(log, "eval_loss", "eval")] == [80, 160, 240]
    assert column(log, "eval_ppl", "eval")[0][1] == pytest.approx(math.exp(column(log, "eval_loss", "eval")[0][1]), rel=1e-4)


def test_iterations_that_were_all_nan_have_a_loss_of_nan():
    """Megatron leaves the loss out where every iteration was NaN; a skipped one alone has no loss at all."""
    text = "iteration {:8d}/ 100 | learning rate: 1.0E-04 |{} number of skipped iterations: {} | number of nan iterations: {} |\n"
    log = only(text.format(10, " lm loss: 3.1E+00 |", 0, 0) + text.format(20, "", 10, 0) + text.format(30, "", 0, 10))
    assert [step for step, _ in column(log, "loss")] == [10, 30]
    assert math.isnan(column(log, "loss")[1][1]) and column(log, "skipped_steps")[1] == (20, 10.0)


def test_gpt_neox_is_read_whatever_stands_before_its_rows():
    """A host, and columns before the iteration; `lm_loss` is the loss."""
    log = kept("megatron/neox_overflow.log")
    assert column(log, "loss")[0][0] == 3 and column(log, "eval_loss", "eval") == [(10, 8.071)]
    assert log.run.get("max_steps") == 55000 and log.run.get("fp16") is True


@pytest.mark.parametrize("broken", [False, True])
def test_the_oldest_megatron_has_no_colons(broken):
    """`lm loss 6.7E+00 | loss scale 64.0 |`, and evaluations with other names."""
    text = "".join(
        f" iteration {100 * n:8d}/    3000 | elapsed time per iteration (ms): 12879.0 | learning rate 6.300E-06 | "
        f"lm loss {'NAN' if broken and n > 8 else f'{7 - n / 9:.6E}'} | loss scale 64.0 |\n"
        + (f" validation loss at iteration {100 * n} | LM loss: 6.5E+00 | LM PPL: 9.0E+01\n" if n % 6 == 0 else "")
        for n in range(1, 13)
    )
    log = only(text)
    assert [step for step, _ in column(log, "loss")] == list(range(100, 1300, 100)) and log.run.get("max_steps") == 3000
    assert math.isnan(column(log, "loss")[-1][1]) is broken and column(log, "learning_rate")[0] == (100, 6.3e-6)
    assert column(log, "eval_loss", "eval") == [(600, 6.5), (1200, 6.5)]


@pytest.mark.parametrize(
    "line",
    [
        "Gradient overflow.  Skipping step, loss scaler 0 reducing loss scale to 256.0",
        "| INFO | fairseq.trainer | NOTE: gradient overflow detected, ignoring gradient, setting loss scale to: 256.0",
    ],
)
def test_apex_and_fairseq_tell_of_skipped_steps_as_well(line):
    """They become columns of the next row, and it was fp16; nothing of it says DeepSpeed."""
    rows = [f"{{'loss': {3 - n / 9:.3f}, 'learning_rate': 0.1, 'epoch': {n / 9:.2f}}}\n" for n in range(1, 5)]
    log = only(rows[0] + line + "\n" + line + "\n" + "".join(rows[1:]))
    assert column(log, "skipped_steps") == [(2, 2.0)] and column(log, "loss_scale") == [(2, 256.0)]
    assert log.run.get("fp16") is True and log.run.get("deepspeed") is None
    log = only(f"step: 1, loss: 2.5\n{line}\nstep: 2, loss: 2.4\nstep: 3, loss: 2.3\n")
    assert column(log, "loss_scale") == [(2, 256.0)] and log.run.get("fp16") is True


# torchtune


def test_a_line_of_torchtune_is_a_row():
    """`name:value` without blanks; `lr` is the learning rate, and the speed of the machine is left out."""
    log = only("".join(f"Step {i} | loss:{3 - i / 10} lr:2e-05 tokens_per_second_per_gpu:57.8 \n" for i in range(1, 4)))
    assert column(log, "loss") == [(1, 2.9), (2, 2.8), (3, 2.7)]
    assert {name for record in log.records for name in record.values} == {"loss", "learning_rate"}


def test_the_bar_of_torchtune_is_counted_on_from_epoch_to_epoch():
    """One row for each step however often the bar was drawn, and the settings printed before are facts."""
    log = kept("torchtune/bar.log")
    assert [record.step for record in log.records] == list(range(1, 41))
    assert log.records[-1].epoch == pytest.approx(2.0)
    assert (log.run.get("num_train_epochs"), log.run.get("gradient_accumulation_steps")) == (2.0, 8)


# verl


def test_the_columns_of_verl_have_the_names_of_trl():
    """The reward, the length of completions and the gradient are where a reader of TRL's logs looks for them."""
    log = kept("verl/grpo.log")
    assert [step for step, _ in column(log, "loss")] == list(range(1, 17)) and log.run.get("max_steps") == 40
    assert column(log, "reward")[0] == (1, 0.23) and column(log, "completions/mean_length")[0] == (1, 313.437)
    assert column(log, "grad_norm")[0] == (1, 0.305) and not column(log, "timing_s/gen")
    assert [step for step, _ in column(log, "eval_digits/reward/mean@1", "eval")] == [0, 8, 16]


def test_a_number_of_verl_that_was_rounded_to_zero_is_none():
    """With three decimals a learning rate of 1e-6 is 0.000: that is no rate of zero."""
    assert not column(kept("verl/grpo.log"), "learning_rate")
    assert column(kept("verl/nan.log"), "learning_rate")[0] == (1, 1e-6)
    assert column(kept("verl/tuning.log"), "learning_rate")[0][1] == pytest.approx(1.95e-5)


def test_what_verl_minimises_is_the_loss():
    """`actor/loss` where there is one, of which `actor/pg_loss` is a part; in its tuning `train/loss`, with evaluations."""
    log = kept("verl/nan.log")
    assert column(log, "loss")[1] == (2, 0.0123 / 2 + 0.000004) and column(log, "actor/pg_loss")[1] == (2, 0.0123 / 2)
    assert [step for step, _ in column(kept("verl/tuning.log"), "eval_loss", "eval")] == [10, 20, 30]
    wrapped = "".join(f"step:{n} - actor/pg_loss:np.float64(0.{n}) - actor/grad_norm:np.float64(0.5)\n" for n in range(1, 4))
    assert column(only(wrapped), "loss") == [(1, 0.1), (2, 0.2), (3, 0.3)] and column(only(wrapped), "grad_norm")[0] == (1, 0.5)


# mmengine


def test_the_iterations_of_mmengine_are_counted_over_epochs():
    """`Epoch(train) [2][ 10/125]` is step 135, and epoch 1.08."""
    log = kept("mmengine/xtuner_nan.log")
    train = [record for record in log.records if record.kind == "train"]
    assert (train[0].step, train[11].step, train[12].step) == (10, 120, 135)
    assert train[12].epoch == pytest.approx(1.08)
    told = {name: log.run.get(name) for name in ("num_train_epochs", "learning_rate", "gradient_accumulation_steps")}
    assert told == {"num_train_epochs": 2, "learning_rate": 0.0002, "gradient_accumulation_steps": 4}


def test_an_evaluation_of_mmengine_belongs_to_the_step_before_it():
    """Its own numbers count batches of the evaluation; a line without a measurement is none."""
    log = kept("mmengine/iterations.log")
    assert column(log, "eval_accuracy", "eval") == [(24, 93.75), (48, 97.9167)]
    assert [step for step, _ in column(log, "loss")] == list(range(2, 50, 2)) and log.run.get("max_steps") == 48


def test_the_text_and_the_scalars_of_mmengine_say_the_same():
    """Two files of one run: the same rows, to the digits of the text."""
    text, scalars = kept("mmengine/epochs.log"), kept("mmengine/scalars.json")
    assert [(one.step, one.kind) for one in text.records] == [(one.step, one.kind) for one in scalars.records]
    for one, other in zip(text.records, scalars.records, strict=True):
        assert dict(one.values) == pytest.approx(dict(other.values), abs=1e-4)


def test_the_step_of_an_evaluation_in_the_scalars_of_mmengine_is_an_epoch():
    """In `scalars.json` a row without an iteration is an evaluation, and no return to an earlier step."""
    log = kept("mmengine/scalars.json")
    assert [step for step, _ in column(log, "eval_accuracy", "eval")] == [12, 24, 36] and not log.run.resumed_at
    assert column(log, "loss")[-1][0] == 36 and "time" not in log.records[0].values


# Progress bars


def test_of_many_frames_of_a_bar_each_step_has_one_row():
    """The last time that it was drawn counts; a running average is said to be one."""
    log = kept("progress_bar/kohya.log")
    assert [record.step for record in log.records] == list(range(1, 41)) and log.run.get("max_steps") == 40
    assert any("running average (avr_loss)" in note for note in log.run.notes)


def test_a_bar_that_begins_anew_in_each_epoch_is_counted_on():
    """And the bars of a validation are no training."""
    log = kept("progress_bar/epochs.log")
    assert [record.step for record in log.records] == list(range(1, 33))
    assert max(loss for _, loss in column(log, "loss")) < 5 and log.run.get("max_steps") == 32
    assert any("begins anew" in note for note in log.run.notes)


@pytest.mark.parametrize(
    "frame",
    [
        "\rIter {0} Loss {1:.4f}:  10%|█    | {0}/90 [00:01<00:09,  1.00it/s]",
        "\rTrain step of epoch 0:  10%|█    | {0}/90 [00:01<00:09,  1.00it/s, gpt_loss={1:.4f}, lr=1e-05]",
        "\rmy_lora:  10%|█    | {0}/90 [00:01<00:09,  1.00it/s, lr: 1.0e-04 loss: {1:.3e}]",
    ],
)
def test_the_loss_beside_a_bar_is_found_under_its_usual_names(frame):
    """Also where nothing stands between its name and its number."""
    log = only("".join(frame.format(n, 3 - n / 9) for n in (10, 20, 30)))
    assert [step for step, _ in column(log, "loss")] == [10, 20, 30] and log.run.get("max_steps") == 90
    assert [value for _, value in column(log, "loss")] == pytest.approx([3 - n / 9 for n in (10, 20, 30)], abs=1e-3)


def test_a_bar_that_goes_through_all_epochs_has_its_own_total():
    """The epoch in its description rises, and the bar does not begin anew."""
    frame = "\rEpoch {}/3:  10%|█    | {}/90 [00:01<00:09,  1.00it/s, loss=2.5]"
    log = only("".join(frame.format(1 + done // 30, done) for done in (10, 20, 30, 40, 50)))
    assert [record.step for record in log.records] == [10, 20, 30, 40, 50] and log.run.get("max_steps") == 90


def test_what_is_printed_between_the_bars_of_an_evaluation_is_one():
    """llama-recipes has its loss in the description of a bar, and prints tensors."""
    log = kept("progress_bar/llama_recipes.log")
    assert [step for step, _ in column(log, "eval_loss", "eval")] == [24, 48] and len(column(log, "loss")) == 48


def test_a_number_that_a_narrow_terminal_cut_is_left_out():
    """The bar ends within a number: what stands before it is whole."""
    frame = "\rtrain:  {}%|█    | {}/9 [00:01<00:09,  1.00it/s, loss=2.5{}"
    text = frame.format(11, 1, ", lr=1e-05]") + frame.format(22, 2, ", lr=1e") + frame.format(33, 3, ", lr=1e-05]")
    log = only(text)
    assert column(log, "loss") == [(1, 2.5), (2, 2.5), (3, 2.5)] and [step for step, _ in column(log, "learning_rate")] == [1, 3]


# Names and numbers


@pytest.mark.parametrize(
    ("lines", "losses"),
    [
        (["step=275  loss=5.82   gnorm=15.6", "step=280 loss=5.7 gnorm=14.0", "step=285 loss=nan gnorm=nan"], [275, 280, 285]),
        (["step: 100, loss: 1.2", "step: 200, loss: 1.1", "step: 300, loss: 1.0"], [100, 200, 300]),
        (["iter 1: loss nan, time 13ms", "iter 2: loss nan, time 13ms", "iter 3: loss nan, time 12ms"], [1, 2, 3]),
        (["Iteration 10/90 Loss 0.5", "Iteration 20/90 Loss 0.4", "Iteration 30/90 Loss 0.3"], [10, 20, 30]),
        (
            [
                f"Iter {n}: Train loss {2 - n / 90:.3f}, Learning Rate 1.000e-05, It/sec 0.5, Tokens/sec 200.1, "
                f"Trained Tokens {370 * n}, Peak mem 14.1 GB"
                for n in (10, 20, 30)
            ],
            [10, 20, 30],
        ),
        (
            [f"| epoch   1 | {n:5d}/ 2983 batches | lr 5.00 | ms/batch 12 | loss  {7 - n / 900:.2f}" for n in (200, 400, 600)],
            [200, 400, 600],
        ),
        (["[INFO] Step [1/9], Loss: 2.1e-1", "[INFO] Step [2/9], Loss: 2e-1", "[INFO] Step [3/9], Loss: .19"], [1, 2, 3]),
    ],
)
def test_lines_of_names_and_numbers_are_rows(lines, losses):
    """With `=`, with `:`, or with nothing between a usual name and its number."""
    log = only("\n".join(lines))
    assert log.run.kind == "key_value" and [step for step, _ in column(log, "loss")] == losses


def test_litgpt_has_one_row_for_each_optimizer_step():
    """Of the iterations of one step the last counts, and the evaluation that stays in each row counts once."""
    log = kept("key_value/litgpt.log")
    assert [step for step, _ in column(log, "loss")] == list(range(1, 49))
    assert [step for step, _ in column(log, "eval_loss", "eval")] == [16, 32]
    assert len(column(kept("key_value/litgpt_nan.log"), "loss")) == 21


def test_an_estimate_of_both_losses_is_an_evaluation_where_rows_have_their_own():
    """nanoGPT prints `step 100: train loss …, val loss …` besides its rows: one training row a step stays one."""
    log = kept("key_value/nanogpt.log")
    assert [step for step, _ in column(log, "loss")] == list(range(0, 400, 10))
    assert [step for step, _ in column(log, "eval_loss", "eval")] == [0, 100, 200, 300]


def test_steps_that_begin_anew_in_each_epoch_are_counted_on():
    """Whether the epoch stands in the row or on a line of its own; with both totals the length of the run is known."""
    log = kept("key_value/batches.log")
    assert [step for step, _ in column(log, "loss")] == list(range(10, 310, 10)) and log.run.get("max_steps") == 300
    epochs = "".join(
        f"Epoch {e}/3\n" + "".join(f"step {s}/40 - loss: {2 - e / 9 - s / 99:.3f}\n" for s in (20, 40)) for e in (1, 2, 3)
    )
    log = only(epochs)
    assert [step for step, _ in column(log, "loss")] == [20, 40, 60, 80, 100, 120] and log.run.get("max_steps") == 120
    first = "".join(f"epoch 1, batch {n}/900, loss {2 - n / 900:.3f}\n" for n in (10, 20, 30))
    assert only(first).run.get("max_steps") is None  # it may be 900 an epoch


def test_a_second_start_is_a_second_run():
    """Steps that are back at the first one without an epoch in between are another run in the same text."""
    text = "".join(f"step {s}: loss {3 - s / 100:.3f}\n" for s in (10, 20, 30))
    assert [log.run.name for log in logs(text * 2)] == ["run 1 of 2", "run 2 of 2"]


def many(line: Callable[[int, float], str], rows: int = 24, broken: bool = False) -> str:
    """A text of lines with falling losses, or with NaN from the middle on."""
    return "".join(line(n, math.nan if broken and n > rows // 2 else round(3 / n**0.3, 4)) + "\n" for n in range(1, rows + 1))


FORMS: dict[str, tuple[Callable[[int, float], str], int]] = {
    "a rank, and numbers with units": (
        lambda n, v: (
            f"08/10/2024 13:45:12 [INFO|DP=0|PP=0|TP=0|host]: iteration: {10 * n} / 30000 | consumed_tokens: {n}.1M | "
            f"elapsed_time_per_iteration_ms: 1.52K | tokens_per_sec: 13.8K | lm_loss: {v:.4g} | lr: 0.0003 | grad_norm: 0.5"
        ),
        10,
    ),
    "an average in brackets": (
        lambda n, v: (
            f"Epoch: [0][{100 * n:4d}/5005]\tTime  0.312 ( 0.912)\tData  0.001 ( 0.312)\tLoss {v:.4e} ({v:.4e})\tAcc@1  5.1 (4.9)"
        ),
        100,
    ),
    "a logger and brackets": (
        lambda n, v: (
            f"[2021-08-01 12:00:00 tiny] (main.py 181): INFO Train: [0/300][{n}/1251]\teta 1:23:10 lr 0.0001\ttime 0.41 (0.40)"
            f"\tloss {v:.4f} ({v:.4f})\tgrad_norm 1.5 (1.4)\tmem 1234MB"
        ),
        1,
    ),
    "a wide column": (lambda n, v: f"step {n:6d}/ 9000 | loss {v:9.5f} (+1.20z)| norm 0.91 (-0.3z)| lr 3.0e-05 | 123.4 ms", 1),
    "what is reduced": (
        lambda n, v: (
            f"Training epoch 0, iteration {n}/149 | lr: 3e-05 | consumed_samples: {n} | global_step: {n} | "
            f"reduced_train_loss: {v:.4g} | train_step_timing in s: 0.03146"
        ),
        1,
    ),
    "several losses and frames": (
        lambda n, v: (
            f"2022-05-01 12:00:00,123 INFO [train.py:700] Epoch 0, batch {50 * n}, loss[loss={v:.4g}, a_loss=3.1, over 4312.00 "
            f"frames. ], tot_loss[loss={v:.4g}, simple_loss=3.1, over 9123.12 frames. ], batch size: 12, lr: 3.00e-03"
        ),
        50,
    ),
    "dots and a bracket": (lambda n, v: f"Step... ({500 * n} | Loss: {v:.6f}, Learning Rate: 0.0001)", 500),
    "a step without a name": (lambda n, v: f"{10 * n} | loss {v:.4f} | lr 3.000000e-04 | 104573.61ms", 10),
    "a step and the seconds": (lambda n, v: f"[{10 * n} | {12.3 * n:.2f}] loss={v:.4f} avg=2.5", 10),
    "a step behind the loss": (lambda n, v: f"Train loss {n} {v:.6f} Grad Norm 1.234567 2.31s/it", 1),
    "a heading with the batch": (
        lambda n, v: f"[batch={n}/480]:\n\t Train time/batch: {n - 1}\n\t Train loss/train/total: {v}\n\t Train metrics/x: 1.0",
        1,
    ),
    "a heading with the step": (
        lambda n, v: f"host\tINFO\t[step={n}/480,epoch=0]\n    train/CrossEntropyLoss={v:.3f}\n    train/Perplexity=9.1",
        1,
    ),
    "colours": (
        lambda n, v: (
            f"[rank0]: root - INFO - \x1b[31mstep: {n:2d}  \x1b[32mloss: {v:7.4f}  \x1b[33mmemory: 40.01GiB(42.1%)  tps: 3,456"
        ),
        1,
    ),
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("broken", [False, True])
def test_what_training_programs_print_is_read_with_its_steps(form, broken):
    """Whatever else stands in the line: each row has its step and its loss, and a loss that is lost is critical."""
    line, gap = FORMS[form]
    text = many(line, broken=broken)
    log = only(text)
    assert log.run.kind == "key_value"
    assert [step for step, _ in column(log, "loss")] == [gap * n for n in range(1, 25)]
    assert math.isnan(column(log, "loss")[-1][1]) is broken
    assert "tps" not in log.records[0].values


@pytest.mark.parametrize(
    ("row", "evaluation"),
    [
        ("step: {}  loss: {:.4f}  memory: 1GiB", "validate step: {}  loss: {:.4f}  memory: 1GiB"),
        ("completed step: {}, seconds: 1.2, loss: {:.4f}", "eval metrics after step: {}, loss={:.4f}, total_weights=65536.0"),
        ("Epoch 0, batch {}, loss[loss={:.4f}, a_loss=1.1]", "Epoch 0, batch {}, validation: loss={:.4f}, a_loss=1.1"),
        ("epoch 1 - iter {} - loss {:.4f} - lr: 0.1", "epoch 1 - iter {} DEV : loss {:.4f} - f1-score 0.5"),
        (
            "| INFO | train_inner | epoch 001 | loss={1:.4f}, nll_loss=1.1, num_updates={0}, lr=0.1",
            "| INFO | valid | epoch 001 | valid on 'valid' subset | loss {1:.4f} | nll_loss 1.1 | num_updates {0}",
        ),
    ],
)
def test_a_line_that_says_so_is_an_evaluation(row, evaluation):
    """The part of the data stands before the first pair or as a heading within the line: its loss is not one of training."""
    text = "".join(
        row.format(n, 3 - n / 9) + "\n" + (evaluation.format(n, 3.5) + "\n" if n % 4 == 0 else "") for n in range(1, 13)
    )
    log = only(text)
    assert [step for step, _ in column(log, "loss")] == list(range(1, 13)) and 3.5 not in [v for _, v in column(log, "loss")]
    assert column(log, "eval_loss", "eval") == [(4, 3.5), (8, 3.5), (12, 3.5)]


def test_both_parts_of_the_data_may_stand_in_one_line():
    """`train: loss=… | valid: loss=…` is a row and an evaluation."""
    log = only("".join(f"[epoch {n}] train: loss={3 - n / 9:.3f} acc=0.5 | valid: loss=2.{n} acc=0.4\n" for n in range(1, 6)))
    assert column(log, "eval_loss", "eval")[0] == (1, 2.1) and column(log, "eval_acc", "eval")[0] == (1, 0.4)
    assert [value for _, value in column(log, "loss")] == pytest.approx([3 - n / 9 for n in range(1, 6)], abs=1e-3)


def test_a_test_is_no_row_of_training():
    """Its batches are counted in the same way."""
    rows = "".join(f"Train: 0 [{50 * n:4d}/1251 ({n:3d}%)]  Loss: {3 - n / 9:.3f} (2.9)  LR: 1.0e-03\n" for n in range(6))
    log = only(
        rows + "".join(f"Test: [{12 * n:4d}/48]  Time: 0.3 (0.3)  Loss:  {2.5:.3f} (2.5)  Acc@1: 5.0 (5.0)\n" for n in range(4))
    )
    assert len(column(log, "loss")) == 6 and not column(log, "eval_loss", "eval")


@pytest.mark.parametrize("first", [0, 1])
def test_the_share_of_an_epoch_is_kept_where_samples_may_be_counted(first):
    """`Train Epoch: 1 [640/60000 (1%)]` counts samples, other programs batches: the rows are numbered, and have their epochs."""
    text = "".join(
        f"Train Epoch: {first + e} [{640 * n}/6400 ({10 * n}%)]\tLoss: {2 - e / 9:.6f}\n" for e in (0, 1) for n in range(10)
    )
    log = only(text)
    assert [record.step for record in log.records] == list(range(1, 21)) and log.run.numbered
    assert [record.epoch for record in log.records] == pytest.approx([n / 10 for n in range(20)])


def test_the_bar_of_keras_has_one_row_for_each_time_it_was_drawn():
    """Batches are counted on from epoch to epoch, and the validation at the end of each is one; colours change nothing."""
    frame = "\r\x1b[1m{}/40\x1b[0m \x1b[32m━━━━━━━━━━\x1b[0m \x1b[1m5s\x1b[0m 3ms/step - accuracy: 0.9 - loss: {:.4f}"
    text = "".join(
        f"Epoch {e}/3\n" + "".join(frame.format(b, 3 - e / 4) for b in (1, 20, 40)) + f" - val_accuracy: 0.8 - val_loss: 2.{e}\n"
        for e in (1, 2, 3)
    )
    log = only(text)
    assert [step for step, _ in column(log, "loss")] == [1, 20, 40, 41, 60, 80, 81, 100, 120] and log.run.get("max_steps") == 120
    assert column(log, "eval_loss", "eval") == [(40, 2.1), (80, 2.2), (120, 2.3)]
    old = "".join(
        f"Epoch {e}/9\n40/40 [==========] - 5s 3ms/step - loss: {3 - e / 9:.3f} - val_loss: 2.{e}\n" for e in range(1, 5)
    )
    assert [step for step, _ in column(only(old), "loss")] == [40, 80, 120, 160] and only(old).run.get("max_steps") == 360


@pytest.mark.parametrize(
    ("end", "last"),
    [
        ("loss: 2.5123, lr: 0.0010", {"loss": 2.5123, "learning_rate": 0.001}),
        ("loss: 2.5123, lr: 0.00", {"loss": 2.5123}),
        ("loss: 2.5123, lr: 1e-", {"loss": 2.5123}),
        ("loss: 2.5", None),
        ("loss: 25", None),
        ("loss: nan, lr: 0.0010", {"loss": math.nan, "learning_rate": 0.001}),
    ],
)
def test_a_number_in_which_the_text_ends_is_read_where_it_is_whole(end, last):
    """The line before tells: more stands behind it there, or more digits."""
    log = only("".join(f"step: {n}, loss: 2.5{n}00, lr: 0.0010\n" for n in (10, 20, 30)) + f"step: 40, {end}")
    assert (repr(dict(log.records[-1].values)) if log.records[-1].step == 40 else None) == (last and repr(last))


PROSE = """The loss of 3 points hurt. Step 1 was easy; the loss: 0.5 of what we had feared, it said, in step 2 of our long plan.
After 3 epochs the loss was 0.5 and the accuracy 90 percent of what everybody in the team had hoped to see by then.
We lost 12 games, a loss 2.5 times as bad as in the step before, and the epoch 1 winners of the league were all gone.
"""
CONFIGURATION = """model:
  hidden_size: 64
  loss: 0.5
  label_smoothing_loss: 0.1
train:
  loss_weight: 1.0
  step: 100
eval:
  loss: 0.5
test:
  loss: 0.5
"""
OUTPUT = "".join(
    f"tests/test_loss.py::test_loss[{i}] PASSED [ {i}%] in 0.0{i}s\nconnection loss on port {i}: retry {i}\n" for i in range(40)
)


@pytest.mark.parametrize("text", [PROSE * 5, CONFIGURATION * 3, OUTPUT, "loss: 1.0\nloss: 0.9\n", "step 3: loss 2.0\n" * 9])
def test_what_is_no_log_is_recognised_by_none(text):
    """Prose, a configuration, the output of other programs, two lines, and one line many times."""
    assert recognised(text) == []


# LLaMA-Factory and ms-swift


def test_a_resumed_log_of_llama_factory_is_one_run():
    """The steps go back to the checkpoint: the abandoned branch is left out, and the total of the steps is a fact."""
    log = kept("llama_factory/resumed.jsonl")
    assert [record.step for record in log.records] == list(range(10, 210, 10)) and log.run.resumed_at == (100,)
    assert log.run.get("max_steps") == 200 and {name for r in log.records for name in r.values} == {"loss", "learning_rate"}


def test_a_restarted_log_of_llama_factory_is_two_runs():
    """Steps that are back at the first one are those of another run."""
    one, other = load(LOGS / "llama_factory" / "restarted.jsonl")
    assert (one.run.name, other.run.name, len(one.records), len(other.records)) == ("run 1 of 2", "run 2 of 2", 7, 15)


def test_what_llama_factory_prints_again_counts_once():
    """Its callback repeats each row with fewer digits: the Trainer's own row stays, with its step; alone it is a row."""
    log = kept("trainer_stdout/llama_factory_callbacks.log")
    assert [record.step for record in log.records] == list(range(10, 190, 10)) and "grad_norm" in log.records[0].values
    assert not log.run.notes
    line = (
        "[INFO|2024-12-08 01:09:59] llamafactory.train.callbacks:157 >> {{'loss': {}, 'learning_rate': 4.9e-05, 'epoch': {}}}\n"
    )
    assert [value for _, value in column(only(line.format(2.5, 0.1) + line.format(0.0, 0.2)), "loss")] == [2.5, 0.0]


def test_the_step_of_ms_swift_stands_in_a_text():
    """`"global_step/max_steps": "8280/11043"` gives the step and the total; the line that sums up the run is no row."""
    log = kept("json_lines/swift.jsonl")
    assert [step for step, _ in column(log, "loss")] == list(range(5, 105, 5)) and log.run.get("max_steps") == 100
    assert log.records[-1].kind == "summary" and not any("best_metric" in record.values for record in log.records)
    assert math.isnan(column(kept("json_lines/swift_nan.jsonl"), "eval_loss", "eval")[-1][1])


def test_the_configuration_that_axolotl_prints_is_known():
    """It stands as JSON before the rows."""
    log = kept("trainer_stdout/axolotl.log")
    told = {name: log.run.get(name) for name in ("framework", "lora_r", "learning_rate", "max_length", "max_steps")}
    assert told == {"framework": "axolotl", "lora_r": 8, "learning_rate": 0.0002, "max_length": 2048, "max_steps": 180}
    assert [record.step for record in log.records if record.kind == "train"] == list(range(10, 190, 10))


@pytest.mark.parametrize(("name", "telling"), [("trl_dpo", "rewards/margins"), ("trl_grpo", "frac_reward_zero_std")])
def test_the_columns_of_trl_are_kept(name, telling):
    """Every row has them, beside the loss."""
    log = kept(f"trainer_stdout/{name}.log")
    assert len(column(log, telling)) == len(column(log, "loss")) == 16


# JSON among other lines, and under other names


def test_objects_at_the_end_of_lines_of_text_are_rows():
    """fairseq puts a date and a word before them, and its numbers into quotes; `num_updates` is the step."""
    log = kept("json_lines/updates_nan.log")
    assert [step for step, _ in column(log, "loss")] == list(range(50, 1250, 50)) and not log.run.notes
    assert [step for step, _ in column(log, "eval_loss", "eval")] == [400, 800, 1200]
    assert {"grad_norm", "learning_rate", "loss_scale"} <= log.records[0].values.keys()
    row = '2024-01-01 00:00:00 INFO {{"step": {0}, "loss": 2.{0}, "lr": 1e-4}}\n'
    text = 'INFO {"lr": 0.5, "model": "x"}\nhello\n' + "".join(map(row.format, range(1, 6)))
    assert column(only(text), "loss") == [(n, 2 + n / 10) for n in range(1, 6)]
    assert column(only(text), "learning_rate") == [(n, 1e-4) for n in range(1, 6)]  # that of the settings is no row


def test_rows_of_json_may_begin_behind_a_line_of_settings():
    """The first object has no measurement."""
    text = '{"model": "x", "layers": 4}\n' + "".join(f'{{"step": {n}, "loss": 2.{n}}}\n' for n in range(1, 6))
    assert column(only(text), "loss") == [(n, 2 + n / 10) for n in range(1, 6)]


@pytest.mark.parametrize(
    "row",
    [
        '{{"_step": {}, "train/loss": {}, "train/learning_rate": 0.1, "val/loss": 2.5}}',
        '{{"global_step": {}, "train": {{"loss": {}, "lr": 0.1}}, "val": {{"loss": 2.5}}}}',
        '{{"iteration": {}, "train_loss": {}, "lr": 0.1, "val_loss": 2.5}}',
        '{{"num_updates": "{}", "loss": "{}", "lr": "0.1", "valid_loss": "2.5"}}',
    ],
)
def test_the_columns_of_json_rows_have_the_names_of_the_trainer(row):
    """Whatever a script calls them: a validation loss is an evaluation, an iteration is a step."""
    log = only("".join(row.format(10 * n, 3 - n / 8) + "\n" for n in range(1, 6)))
    assert log.run.kind == "json_lines" and column(log, "loss") == [(10 * n, 3 - n / 8) for n in range(1, 6)]
    assert column(log, "learning_rate")[0] == (10, 0.1) and column(log, "eval_loss", "eval")[0] == (10, 2.5)


@pytest.mark.parametrize(("name", "known"), [("run-tag-train_loss.json", "loss"), ("run-tag-eval_loss.json", "eval_loss")])
def test_a_chart_that_tensorboard_gives_to_download_is_a_run(name, known):
    """Wall times, steps and values without a name: it is said what they are taken for, by the name of the file or as the loss."""
    text = (LOGS / "json_lines" / "chart.json").read_text(encoding="utf-8")
    (log,) = read_file(Source(name, None, text))
    assert [record.step for record in log.records] == list(range(10, 410, 10))
    assert {name for record in log.records for name in record.values} == {known}
    assert log.run.notes == (f"the values are taken for {known}",)
    assert recognised("[[1, 2, 3], [4, 5, 6]]") == []


# Whatever numbers there are

NUMBERS = st.one_of(
    st.floats(0, 1e4, allow_nan=False).map(lambda value: float(f"{value:.4f}")), st.sampled_from([math.nan, math.inf, 0.0])
)
PRINTED: dict[str, Callable[[int, float], str]] = {
    "deepspeed": lambda step, loss: f"steps: {step} loss: {loss:.4f} iter time (s): 0.512 samples/sec: 31.250\n",
    "megatron": lambda step, loss: (
        f" iteration {step:8d}/ 1000000 | elapsed time per iteration (ms): 8.9 | lm loss: {loss:.9E} | grad norm: 1.5 |"
        " number of skipped iterations:   0 | number of nan iterations:   0 |\n"
    ),
    "torchtune": lambda step, loss: f"Step {step} | loss:{loss} lr:2e-05 tokens_per_second_per_gpu:57.8 \n",
    "mmengine": lambda step, loss: (
        f"03/11 10:12:09 - mmengine - INFO - Iter(train) [{step:6d}/1000000]  lr: 1e-04  loss: {loss:.4f}\n"
    ),
    "verl": lambda step, loss: f"step:{step} - actor/pg_loss:{loss} - actor/lr:1e-06\n",
    "progress_bar": lambda step, loss: f"\rsteps:   1%|▏         | {step}/1000000 [00:02<04:09,  3.91it/s, loss={loss}]",
    "key_value": lambda step, loss: f"step: {step}, loss: {loss:.4f}\n",
}


@pytest.mark.parametrize("kind", PRINTED)
@settings(max_examples=40, deadline=None)
@given(values=st.lists(NUMBERS, min_size=3, max_size=20), gap=st.integers(1, 1000))
def test_what_was_printed_is_read_back(kind, values, gap):
    """Any losses at any distance come back with their steps, to the digits that were printed."""
    text = "".join(PRINTED[kind](gap * place, value) for place, value in enumerate(values, 1))
    log = only(text)
    assert log.run.kind == kind
    assert [step for step, _ in column(log, "loss")] == [gap * place for place in range(1, len(values) + 1)]
    assert [value for _, value in column(log, "loss")] == pytest.approx(values, rel=1e-6, abs=1e-4, nan_ok=True)


@settings(max_examples=40, deadline=None)
@given(values=st.lists(NUMBERS, min_size=1, max_size=20), gap=st.integers(1, 1000))
def test_what_llama_factory_wrote_is_read_back(values, gap):
    """The same for its JSON lines."""
    row = '{{"current_steps": {}, "total_steps": 1000000, "loss": {}, "lr": 1e-05, "epoch": 0.1, "percentage": 0.1}}\n'
    spelled = {math.inf: "Infinity"}
    text = "".join(row.format(gap * n, spelled.get(v, "NaN" if v != v else v)) for n, v in enumerate(values, 1))
    log = only(text)
    assert log.run.kind == "llama_factory"
    assert [value for _, value in column(log, "loss")] == pytest.approx(values, nan_ok=True)


SAMPLES: Sequence[str] = [
    path.read_text(encoding="utf-8")
    for folder in ("deepspeed", "megatron", "torchtune", "mmengine", "verl", "progress_bar", "key_value", "llama_factory")
    for path in sorted((LOGS / folder).iterdir())
]


@settings(max_examples=150, deadline=None)
@given(
    st.sampled_from(SAMPLES),
    st.integers(0, 12_000),
    st.integers(0, 12_000),
    st.sampled_from(["", "\r", "\x1b[32m", "é]", "|", "{'", "1e9999"]),
)
def test_a_log_that_is_cut_or_torn_never_stops_a_reader(text, begin, end, noise):
    """Wherever it is cut, and whatever stands in the gap: there is a log, or one line that says why not."""
    try:
        found = logs(text[:begin] + noise + text[end:])
    except LossDoctorError as error:
        assert "\n" not in str(error)
    else:
        assert all(log.records for log in found)


@pytest.mark.parametrize("name", [*HEALTHY, *LOST])
def test_the_end_of_lines_and_colours_change_nothing(name):
    """Windows line ends and a coloured level leave the rows as they are."""
    text = (LOGS / name).read_text(encoding="utf-8")
    if "\r" in text or name.endswith((".json", ".jsonl")):
        return
    changed = text.replace("[INFO]", "[\x1b[32mINFO\x1b[0m]").replace("\n", "\r\n")
    for one, other in zip(logs(text), logs(changed), strict=True):
        assert repr(one.records) == repr(other.records)
