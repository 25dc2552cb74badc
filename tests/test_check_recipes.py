"""What public recipes write in their own ways is read as their tools read it, and draws no warning where they train well."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import test_checks
import tiny_models

import lossdoctor
from lossdoctor import checkup
from lossdoctor.measured import part
from lossdoctor.model import Fact, Finding, Run
from lossdoctor.probes.data import examine as look_at_data
from lossdoctor.reports import Look
from lossdoctor.reports.checkup import FORMATS

ALPACA_LORA = """python finetune.py --base_model 'yahma/llama-7b-hf' --data_path 'yahma/alpaca-cleaned'
 --batch_size 128 --micro_batch_size 4
 --num_epochs 3 --learning_rate 1e-4 --cutoff_len 512 --val_set_size 2000 --lora_r 8 --lora_alpha 16
 --lora_target_modules '[q_proj,v_proj]' --train_on_inputs --group_by_length""".replace("\n", " \\\n")
OPENRLHF = """deepspeed --module openrlhf.cli.train_sft --pretrain meta-llama/Meta-Llama-3-8B --train_batch_size 256
 --micro_train_batch_size 2 --max_epochs 1 --bf16 --learning_rate 5e-6""".replace("\n", " \\\n")
VERL = """
data: {train_batch_size: 1024, max_prompt_length: 512}
algorithm: {adv_estimator: grpo}
actor_rollout_ref:
  model: {path: Qwen/Qwen2-7B-Instruct}
  actor: {optim: {lr: 1.0e-6}, ppo_mini_batch_size: 256, ppo_micro_batch_size_per_gpu: 40}
trainer: {n_gpus_per_node: 8}
"""
PROMPT_TUNING = """peft_config = PromptTuningConfig(task_type=TaskType.CAUSAL_LM, num_virtual_tokens=8)
model = AutoModelForCausalLM.from_pretrained("bigscience/bloomz-560m")
args = TrainingArguments(output_dir="pt", learning_rate=3e-2, num_train_epochs=50, per_device_train_batch_size=8)
"""
P_TUNING = "python main.py --model_name_or_path THUDM/chatglm-6b --pre_seq_len 128 --learning_rate 2e-2 --quantization_bit 4"


def checked(content: str, folder: Path, name: str = "train.sh", **more: object) -> lossdoctor.CheckReport:
    (folder / name).write_text(content, encoding="utf-8")
    return lossdoctor.check(folder / name, **more)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("content", "name", "batch"), [(ALPACA_LORA, "a.sh", 128), (OPENRLHF, "o.sh", 256), (VERL, "v.yaml", 256)]
)
def test_a_whole_batch_beside_the_one_of_a_device_is_the_whole(content: str, name: str, batch: int, tmp_path: Path) -> None:
    """Alpaca-LoRA, OpenRLHF and verl state all examples of a step: they are not multiplied by the GPUs once more."""
    report = checked(content, tmp_path, name, rows=20000, gpu="8x A100")
    assert report.plan.effective_batch is not None and report.plan.effective_batch.whole == batch
    assert not test_checks.found(report).get("batch-larger-than-data")


def test_alpaca_lora_is_not_axolotl(tmp_path: Path) -> None:
    """Both have a base_model and a micro_batch_size; a data_path is Alpaca-LoRA's, and its adapter is one."""
    report = checked(ALPACA_LORA, tmp_path)
    assert report.plan.get("lora_r") == 8 and "learning-rate-unusual" not in test_checks.found(report)


def test_the_alpha_of_a_distillation_is_no_adapter() -> None:
    """`alpha` is that of LoRA only where a rank stands beside it."""
    values = {"model_name_or_path": "distilbert-base-uncased", "alpha": 0.5, "learning_rate": 6e-5, "num_train_epochs": 3}
    assert "learning-rate-unusual" not in test_checks.found(lossdoctor.check(values))
    assert lossdoctor.check({**values, "r": 8, "alpha": 16}).plan.adapter_scale is not None


@pytest.mark.parametrize(
    ("command", "task"),
    [
        ("python trl/scripts/dpo.py", "preference tuning"),
        ("trl kto", "preference tuning"),
        ("accelerate launch examples/scripts/grpo.py", "reinforcement learning"),
        ("deepspeed --module openrlhf.cli.train_ppo", "reinforcement learning"),
        ("swift rlhf --rlhf_type dpo", "preference tuning"),
        ("python train_reward.py", "preference tuning"),
        ("python trl/scripts/sft.py", "supervised"),
        ("python run_clm.py", "supervised"),
    ],
)
def test_the_name_of_a_script_says_what_is_learned(command: str, task: str, tmp_path: Path) -> None:
    """A rate of 5e-6 for LoRA is wrong in supervised tuning and usual in preference tuning: the script tells which it is."""
    flags = "--learning_rate 5e-6 --use_peft --lora_r 16 --lora_alpha 16 --bf16 --max_steps 500"
    report = checked(f"{command} {flags}", tmp_path)
    assert report.plan.get("task") == task
    alarming = test_checks.found(report).get("learning-rate-unusual") == "warning"
    assert alarming == (task == "supervised" or "reward" in command)


@pytest.mark.parametrize(("content", "name"), [(PROMPT_TUNING, "train.py"), (P_TUNING, "train.sh")])
def test_soft_prompts_bear_rates_of_their_own(content: str, name: str, tmp_path: Path) -> None:
    """Prompt tuning and P-tuning train a few vectors, at rates and for epochs at which matrices would fall apart."""
    assert checked(content, tmp_path, name, rows=50, gpu="T4").verdict == "healthy"


def test_a_reward_model_is_tuned_like_a_classifier() -> None:
    """1e-4 for LoRA and 1e-5 for all weights, as TRL recommends for reward models, are not rates of DPO."""
    for more in ({"lora_r": 32, "lora_alpha": 16, "learning_rate": 1e-4}, {"finetuning_type": "full", "learning_rate": 1e-5}):
        report = lossdoctor.check({"model_name_or_path": "Qwen/Qwen2-0.5B-Instruct", "trainer": "RewardConfig", **more})
        assert "learning-rate-unusual" not in test_checks.found(report)


def test_a_rate_of_dpo_beyond_every_usual_one_is_noted() -> None:
    """2e-4 is far too high for preference tuning, whether with an adapter or of all weights, which nobody says here."""
    report = lossdoctor.check(
        {"model_name_or_path": "Qwen/Qwen2-7B", "trainer": "DPOConfig", "learning_rate": 2e-4, "max_steps": 900}
    )
    assert test_checks.found(report)["learning-rate-unusual"] == "info"


def test_steps_of_scripts_without_a_trainer_are_read(tmp_path: Path) -> None:
    """`--max_train_steps` and `--num_warmup_steps` are those of the no_trainer scripts and of diffusers."""
    report = checked(
        "accelerate launch run_clm_no_trainer.py --max_train_steps 300 --num_warmup_steps 400 --learning_rate 1e-5", tmp_path
    )
    assert test_checks.found(report)["warmup-too-long"] == "warning"


def test_of_many_findings_only_the_first_are_told_in_full(tmp_path: Path) -> None:
    """Four with evidence and remedies, the next in a line each, and where to find what to change for all."""
    report = checked(
        "model_name_or_path: google/gemma-2-9b\nlora_r: 4\nlora_alpha: 8192\nlearning_rate: 0.02\nnum_train_epochs: 30\n"
        "per_device_train_batch_size: 512\nfp16: true\nwarmup_steps: 500\nload_best_model_at_end: true\n"
        "attn_implementation: flash_attention_2\n", tmp_path, "run.yaml", rows=300, gpu="T4")  # fmt: skip
    alarming = [finding for finding in report.findings if finding.severity != "info"]
    text = str(report)
    assert len(alarming) >= 7 and text.count("     → ") == 4 and "--suggest" in text
    assert len(text.splitlines()) < 70
    assert set(report.suggestions) >= {"learning_rate", "warmup_steps", "num_train_epochs"}


def test_one_of_a_thing_is_not_several() -> None:
    """One epoch, one step, one example: nothing reads `1 steps`."""
    text = str(lossdoctor.check({"per_device_train_batch_size": 1, "num_train_epochs": 1, "learning_rate": 2e-5}, rows=1))
    assert "1 epoch × 1 step" in text and not any(f"1 {word}s" in text for word in ("epoch", "step", "example", "row"))


def test_ten_thousand_steps_are_written_out() -> None:
    """Evidence with large numbers is in figures that people read, not in powers of ten."""
    values = {"per_device_train_batch_size": 2, "num_train_epochs": 1, "learning_rate": 2e-4, "lora_r": 8, "lora_alpha": 8,
              "warmup_steps": 30000, "bf16": True}  # fmt: skip
    assert "20,000 steps = 1 epoch × 20,000 steps" in str(lossdoctor.check(values, rows=40000))


def test_a_gpu_that_nobody_knows_is_said() -> None:
    """A name that is none of NVIDIA's is no reason to be silent about bf16."""
    report = lossdoctor.check({"bf16": True, "learning_rate": 2e-5, "finetuning_type": "full"}, gpu="Banana")
    assert "Banana" in str(report) and any("unsupported-number-format" in item.what for item in report.not_judged)


def test_the_machine_p4d_is_no_p4() -> None:
    """A name of a rented machine is not taken for the card that it resembles."""
    report = lossdoctor.check({"bf16": True, "learning_rate": 2e-5, "finetuning_type": "full"}, gpu="p4d.24xlarge")
    assert "unsupported-number-format" not in test_checks.found(report)


def test_what_was_looked_at_is_told_once(tmp_path: Path) -> None:
    """How many examples were looked at stands in the plan, and not with each finding again; programs find it by name."""
    words = "4 of 9 examples in train.jsonl were looked at"
    found = Finding("examples-empty", "warning", "3 of 9 examples have no answer in them", (words, "the first is example 2"))
    report = checkup.examine(lossdoctor.check({"learning_rate": 2e-4, "r": 8}).run, extra=[found], looked_at=words)
    for name in ("text", "markdown", "html"):
        told = FORMATS[name](report, Look(color=False, width=300))
        assert told.count(words) == 1 and "the first is example 2" in told, name
    assert json.loads(FORMATS["json"](report, Look()))["check"]["looked_at"] == words


@pytest.mark.parametrize(
    ("count", "words"), [(3, "3 of 40 examples (7.5%)"), (40, "all 40 examples"), (0, "0 of 40 examples (0%)")]
)
def test_all_of_them_is_not_a_fraction(count: int, words: str) -> None:
    """`40 of 40 examples (100%)` is a long way of saying all."""
    assert part(count, 40) == words


def test_answers_of_reinforcement_learning_are_not_measured(tmp_path: Path) -> None:
    """GRPO makes its answers itself: those in the data are for the reward, and no label is missed or masked in them."""
    tiny_models.config(tiny_models.tokenizer(tmp_path / "model"))
    rows = [{"prompt": f"how many bridges {number}", "answer": str(number)} for number in range(20)]
    (tmp_path / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    run = Run(facts={"trainer": Fact("GRPOConfig", "stated")})
    seen = look_at_data(tmp_path / "model", tmp_path / "train.jsonl", run)
    assert not seen.findings and any("reinforcement learning" in item.why for item in seen.not_judged)
