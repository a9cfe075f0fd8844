"""Other tools' trainers with their defaults: HF Trainer, accelerate and TRL train LoRA and QLoRA models of ours."""

import inspect
import os

import pytest
import torch

from minilora.lora import LoraConfig, LoraModel, add_lora
from minilora.quantization import quantize_model
from tests.helpers import peer
from tests.test_lora import digest, logits, tiny_gpt2, tiny_llama

accelerate, transformers, trl = peer("accelerate"), peer("transformers"), peer("trl")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

ROWS = [{"input_ids": [i, i + 1, i + 2, i + 3], "labels": [i, i + 1, i + 2, i + 3]} for i in range(1, 17)]


def lora_llama() -> LoraModel:
    return add_lora(tiny_llama(), LoraConfig(r=4, target_modules="attention"))


def qlora_llama() -> LoraModel:
    base, _ = quantize_model(tiny_llama(), block_size=32)
    return add_lora(base, LoraConfig(r=4, target_modules="attention"))


def lora_gpt2() -> LoraModel:
    return add_lora(tiny_gpt2(), LoraConfig(r=4, target_modules=["c_attn"]))


def settings(kind, folder, **changes):
    return kind(
        output_dir=str(folder), max_steps=4, per_device_train_batch_size=4, learning_rate=1e-2, report_to=[],
        use_cpu=True, disable_tqdm=True, **changes,
    )  # fmt: skip


def test_forward_has_the_bases_parameters():
    model = lora_llama()
    assert [*inspect.signature(tiny_llama().forward).parameters] == [
        name for name in inspect.signature(model.forward).parameters if name != "adapter_names"
    ]
    with pytest.raises(ValueError, match="no adapter 'x'"):
        model.eval()(torch.ones(1, 3, dtype=torch.long), adapter_names=["x"])


@pytest.mark.parametrize("build", [lora_llama, qlora_llama])
def test_hf_trainer_with_its_defaults(build, tmp_path):
    train_with_hf(build(), tmp_path)


def test_hf_trainer_saves_and_resumes_a_base_with_a_tied_output(tmp_path):
    train_with_hf(lora_gpt2(), tmp_path / "whole", save_steps=2)

    def resume():
        model = lora_gpt2()
        trainer = transformers.Trainer(
            model, settings(transformers.TrainingArguments, tmp_path / "again"), train_dataset=ROWS
        )
        trainer.train(resume_from_checkpoint=str(tmp_path / "whole" / "checkpoint-2"))
        return logits(model.eval())

    whole = LoraModel.from_pretrained(tiny_gpt2(), tmp_path / "whole" / "adapter")
    assert torch.equal(resume(), logits(whole))


def test_a_state_dict_holds_tied_weights_once_and_loads_again():
    model, other = lora_gpt2(), lora_gpt2()
    state = model.state_dict()
    assert len({value.data_ptr() for value in state.values() if value.numel()}) == len(state)
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.zero_()
    other.load_state_dict(state)
    assert torch.equal(logits(other.eval()), logits(model.eval()))
    assert other.base.lm_head.weight is other.base.transformer.wte.weight


def train_with_hf(model, tmp_path, **changes):
    bits, before = digest(model.base), logits(model.eval())
    arguments = settings(transformers.TrainingArguments, tmp_path, **changes)
    trainer = transformers.Trainer(model, arguments, train_dataset=ROWS, eval_dataset=ROWS)
    first = trainer.evaluate()["eval_loss"]
    trainer.train()
    assert trainer.evaluate()["eval_loss"] < first
    assert digest(model.base) == bits
    trained = logits(model.eval())
    assert not torch.equal(trained, before)
    model.save_pretrained(tmp_path / "adapter")
    again = LoraModel.from_pretrained(model.unload(), tmp_path / "adapter")
    assert torch.equal(logits(again), trained)


def test_accelerate(tmp_path):
    model = lora_llama()
    accelerate.state.AcceleratorState._reset_state(True)  # a trainer in the same process has made one
    accelerator = accelerate.Accelerator(cpu=True, mixed_precision="bf16")
    optimizer = torch.optim.AdamW(model.trainable_parameters().values(), lr=1e-2)
    model, optimizer = accelerator.prepare(model, optimizer)
    ids = torch.tensor([row["input_ids"] for row in ROWS])
    losses = []
    for _ in range(4):
        loss = model(input_ids=ids, labels=ids).loss
        accelerator.backward(loss)
        optimizer.step()
        optimizer.zero_grad()
        losses.append(float(loss.detach()))
    assert losses[-1] < losses[0]
    accelerator.unwrap_model(model).save_pretrained(tmp_path)
    LoraModel.from_pretrained(tiny_llama(), tmp_path)


@pytest.mark.parametrize("build", [lora_llama, qlora_llama])
def test_trl_sft_trainer_with_its_defaults(build, tmp_path, story_model):
    datasets = peer("datasets")
    model = build()
    bits, before = digest(model.base), logits(model.eval())
    story_model.save_pretrained(tmp_path / "base")
    tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path / "base")
    tokenizer.pad_token = tokenizer.eos_token
    rows = datasets.Dataset.from_list([{"input_ids": row["input_ids"]} for row in ROWS])
    trainer = trl.SFTTrainer(
        model,
        settings(trl.SFTConfig, tmp_path / "run", bf16=False),
        train_dataset=rows,
        processing_class=tokenizer,
    )
    losses = trainer.train().training_loss
    assert 0 < losses < 10
    assert digest(model.base) == bits
    assert not torch.equal(logits(model.eval()), before)
