#!/bin/bash
# deepspeed train.py --learning_rate 9 --fp16 False : an old call
export WANDB_MODE=offline
LR=2e-4
MODEL="Qwen/Qwen2-7B"
CUDA_VISIBLE_DEVICES=0,1 NCCL_DEBUG=INFO torchrun --nproc_per_node=4 --nnodes 2 --master_port=29501 src/train.py \
    --model_name_or_path $MODEL \
    --deepspeed deepspeed/ds_z2.json \
    --learning_rate ${LR} \
    --per_device_train_batch_size 4 \
    --gradient-accumulation-steps=8 \
    --lora_r=16 \
    --lora_target_modules q_proj v_proj \
    --bf16 True \
    --tf32 \
    --no_group_by_length \
    --evaluation_strategy "no" \
    --seed $(date +%s) \
    --max_grad_norm 0.5 \
    --packing > log.txt 2>&1 &
wait && echo done
