"""The chapter's listing, as printed, on the embedded model; a few steps are enough to see that it learns."""

from minilora import GPT, LoraConfig, LoraModel, Trainer, add_lora, encode_text, style_corpus


def test_the_listing_runs_as_printed(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    base_model = GPT.from_pretrained("tiny-gpt")
    train_data = encode_text(style_corpus("legal", documents=4), base_model.tokenizer, sequence_length=128)

    lora_config = LoraConfig(
        r=8,
        target_modules=["attention"],
    )
    model = add_lora(base_model, lora_config)
    count = model.trainable_parameter_count()
    assert str(count).endswith("%)")
    assert count / count.total < 0.02
    trainer = Trainer(model=model, train_data=train_data, epochs=3)
    history = trainer.train()
    model.save_adapter("my-style-adapter")

    assert history.losses[-1] < history.losses[0]
    again = LoraModel.from_pretrained(GPT.from_pretrained("tiny-gpt"), "my-style-adapter")
    prompt = "The little dog ran to the garden and"
    assert again.generate(prompt, 20, seed=1) == model.generate(prompt, 20, seed=1)
