import torch
from peft import LoraConfig
from transformers import AutoModelForCausalLM, BitsAndBytesConfig
from trl import SFTConfig, SFTTrainer

rate = 3e-4
name_of_optimizer = "adamw_torch"
model = AutoModelForCausalLM.from_pretrained(
    "google/gemma-2-2b",  # the base, not the chat model
    torch_dtype=torch.bfloat16,
    attn_implementation="eager",
    quantization_config=BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4"),
)
peft = LoraConfig(r=16, lora_alpha=32, target_modules=["q_proj", "v_proj"], modules_to_save=["lm_head"])
args = SFTConfig(
    output_dir="out",
    learning_rate=2e-4,  # was 5e-5, (too low)
    weight_decay=rate,
    fp16=not torch.cuda.is_bf16_supported(),
    bf16=True,
    per_device_train_batch_size=2,
    lr_scheduler_type="cosine",
    gradient_checkpointing_kwargs={"use_reentrant": False},
    optim=name_of_optimizer,
    max_length=1024,
    packing=True,
)
SFTTrainer(model, args).train()
