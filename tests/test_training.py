"""The loop: equal to a hand-written one, exact after a resume, stoppable, and honest about bad input."""

import os
import signal
import threading

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from minilora.lora import LoraConfig, add_lora
from minilora.quantization.model import quantize_model
from minilora.training import Trainer, TrainingDiverged, evaluate, trainer
from minilora.training.datasets import IGNORE, TokenData
from minilora.training.distributed import join_processes
from minilora.training.loss import cross_entropy_in_pieces
from minilora.training.schedule import schedule
from minilora.training.setup import set_gradient_checkpointing
from tests.helpers import counting_rows as data
from tests.helpers import peer, small_gpt
from tests.test_lora import digest, logits, tiny_llama


def lora_model(dropout: float = 0.0):
    torch.manual_seed(0)
    return add_lora(
        small_gpt(), LoraConfig(r=4, lora_alpha=8, lora_dropout=dropout, target_modules="attention")
    )


def trained(model) -> dict[str, torch.Tensor]:
    return {name: p.detach().clone() for name, p in trainer.trainable_parameters(model).items()}


def equal(a: dict, b: dict) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def quiet(model, **settings) -> Trainer:
    return Trainer(
        model,
        settings.pop("train_data", data()),
        **{"max_steps": 6, "batch_size": 8, "progress": False} | settings,
    )


# -- what a step computes ------------------------------------------------------------------------------------


def test_the_loop_equals_one_written_by_hand():
    model = lora_model()
    trainer = quiet(model, learning_rate=1e-2, weight_decay=0.1, warmup_ratio=0.5)
    order = [trainer._rows_of_step(step) for step in range(6)]
    history = trainer.train()

    hand = lora_model()
    parameters = [p for p in hand.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(parameters, lr=1e-2, weight_decay=0.1)
    for step, rows in enumerate(order):
        optimizer.param_groups[0]["lr"] = 1e-2 * schedule(step, 6, 0.5)
        d = data()
        loss = F.cross_entropy(
            hand(d.input_ids[rows]).flatten(0, 1), d.targets[rows].flatten(), ignore_index=IGNORE
        )
        loss.backward()
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        optimizer.zero_grad()
        assert history.losses[step] == pytest.approx(loss.item(), rel=1e-5)
    for (name, a), b in zip(trained(hand).items(), trained(model).values(), strict=True):
        # mean of the loss against sum times 1/n: float32 rounding, which Adam's division may carry to 1e-5 of a step
        assert torch.allclose(a, b, atol=1e-5), name


def test_every_row_comes_once_an_epoch_and_in_a_new_order():
    trainer = quiet(lora_model(), epochs=2, max_steps=None)
    assert trainer.max_steps == 6, "20 rows in steps of 8: three steps an epoch"
    epochs = [torch.cat([trainer._rows_of_step(e * 3 + i) for i in range(3)]) for e in range(2)]
    assert all(sorted(rows.tolist()) == list(range(20)) for rows in epochs)
    assert epochs[0].tolist() != epochs[1].tolist()


def test_parts_of_a_batch_add_up_to_the_same_step():
    whole, parts = lora_model(), lora_model()
    a = quiet(whole, learning_rate=1e-2).train()
    b = quiet(parts, learning_rate=1e-2, gradient_accumulation_steps=3).train()
    assert a.losses == pytest.approx(b.losses, rel=1e-5)
    assert all(
        torch.allclose(x, y, atol=1e-5)
        for x, y in zip(trained(whole).values(), trained(parts).values(), strict=True)
    )


@pytest.mark.parametrize("progress", [True, False])
def test_the_progress_bar_tells_the_loss_and_the_speed_or_nothing_at_all(progress, capsys):
    history = quiet(lora_model(), max_steps=3, progress=progress).train()
    shown = capsys.readouterr()
    assert shown.out == ""
    if progress:
        assert "3/3" in shown.err
        assert f"loss {history.losses[-1]:.3f}" in shown.err
        assert "tokens/s" in shown.err
    else:
        assert shown.err == ""


def test_the_loss_in_pieces_is_the_loss(monkeypatch):
    hidden = torch.randn(3, 7, 16, dtype=torch.float64, requires_grad=True)
    layer = nn.Linear(16, 50, bias=False, dtype=torch.float64)
    targets = torch.randint(0, 50, (3, 7))
    targets[0, :4] = IGNORE
    results = []
    for at_once in (10**6, 50 * 4):
        monkeypatch.setattr("minilora.training.loss.LOGITS_AT_ONCE", at_once)
        loss = cross_entropy_in_pieces(hidden, layer, targets)
        results.append((loss.double(), *torch.autograd.grad(loss, [hidden, layer.weight])))
    expected = F.cross_entropy(
        layer(hidden).flatten(0, 1), targets.flatten(), ignore_index=IGNORE, reduction="sum"
    )
    assert results[0][0].item() == pytest.approx(expected.item(), rel=1e-6)
    for whole, pieces in zip(*results, strict=True):
        assert torch.allclose(whole, pieces, rtol=1e-6)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_the_loss_of_a_frozen_output_layer_and_its_gradient(dtype, monkeypatch):
    torch.manual_seed(0)
    hidden = torch.randn(3, 7, 16, dtype=dtype, requires_grad=True)
    layer = nn.Linear(16, 50, dtype=dtype).requires_grad_(False)
    targets = torch.randint(0, 50, (3, 7))
    targets[0, :4] = targets[2, 6] = IGNORE
    monkeypatch.setattr("minilora.training.loss.LOGITS_AT_ONCE", 50 * 4)
    loss = cross_entropy_in_pieces(hidden, layer, targets)
    (gradient,) = torch.autograd.grad(loss * 0.3, hidden)
    exact = hidden.detach().double().requires_grad_()
    logits = F.linear(exact, layer.weight.double(), layer.bias.double()).flatten(0, 1)
    expected = F.cross_entropy(logits, targets.flatten(), ignore_index=IGNORE, reduction="sum")
    (expected_gradient,) = torch.autograd.grad(expected * 0.3, exact)
    # float64 goes through a float32 softmax; bfloat16 rounds logits, probabilities, products and the result
    eps = 1e-6 if dtype == torch.float64 else 4 * 2**-9
    assert loss.item() == pytest.approx(expected.item(), rel=eps)
    assert (gradient - expected_gradient).abs().max() <= eps * expected_gradient.abs().max() * 2
    assert not gradient[targets == IGNORE].any()


@pytest.mark.parametrize("build", [small_gpt, lora_model, lambda: lora_model(dropout=0.3)])
def test_offloaded_activations_change_neither_the_loss_nor_a_gradient(build, monkeypatch):
    monkeypatch.setattr("minilora.long_rows.TOKENS_AT_ONCE", 7)  # rows of 16: pieces of 7, 7 and 2
    results = []
    for offload in (False, True):
        model = build().double().train()
        set_gradient_checkpointing(model, offload, offload)
        torch.manual_seed(1)  # of dropout
        loss = model(data().input_ids).logsumexp(-1).sum()
        loss.backward()
        results.append((loss, *(p.grad for p in trainer.trainable_parameters(model).values())))
    for plain, offloaded in zip(*results, strict=True):
        assert torch.allclose(plain, offloaded, rtol=1e-9, atol=1e-12)


def test_what_is_offloaded_is_each_half_blocks_input(monkeypatch):
    moved = []

    def hooks(pin_memory: bool):
        pack = lambda t: moved.append(tuple(t.shape)) or t  # noqa: E731
        return torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t)

    monkeypatch.setattr("minilora.long_rows.save_on_cpu", hooks)
    monkeypatch.setattr("minilora.long_rows.TOKENS_AT_ONCE", 10)
    model = lora_model()
    quiet(model, max_steps=1, gradient_checkpointing=True, activation_offloading=True).train()
    rows, tokens, width = 8, data().input_ids.shape[1], model.config.hidden_size
    pieces = [(rows, min(10, tokens - start), width) for start in range(0, tokens, 10)]
    # of no use, but saved beside each input: checkpoint's empty tensor
    assert [shape for shape in moved if shape != (0,)] == 2 * [(rows, tokens, width), *pieces]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")
@pytest.mark.parametrize("parts", [1, 2])
def test_a_cuda_graph_learns_what_the_kernels_one_by_one_learn(parts):
    """Rows that fill the last batch of an epoch only in part, too: those run without the graph."""
    runs = []
    for graph in (False, True):
        model = lora_model().to("cuda")
        run = quiet(model, cuda_graph=graph, gradient_accumulation_steps=parts, gradient_checkpointing=True)
        run.train()
        run.max_steps = 9  # recorded anew
        runs.append((run.train().losses, trained(model)))
    assert runs[1][0] == pytest.approx(runs[0][0], rel=1e-5)
    for name, weight in runs[0][1].items():
        assert torch.allclose(weight, runs[1][1][name], rtol=1e-3, atol=1e-4), name


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"activation_offloading": True}, "needs gradient_checkpointing=True"),
        ({"cuda_graph": True, "device": "cpu"}, "needs a CUDA GPU, but the training device is cpu"),
        ({"cuda_graph": True, "device": "cuda"}, "cannot record dropout"),
        (
            {
                "cuda_graph": True,
                "device": "cuda",
                "gradient_checkpointing": True,
                "activation_offloading": True,
            },
            "cannot record copies",
        ),
    ],
)
def test_what_does_not_go_together_is_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        quiet(lora_model(dropout=0.1), **settings)


def test_the_schedule_is_transformers_cosine_after_the_rise():
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1.0)
    theirs = peer("transformers").get_cosine_schedule_with_warmup(optimizer, 10, 50)
    for step in range(50):
        if step >= 10:
            assert schedule(step, 50, 0.2) == pytest.approx(theirs.get_last_lr()[0])
        optimizer.step()
        theirs.step()
    assert [schedule(s, 50, 0.2) for s in range(10)] == pytest.approx([0.1 * (s + 1) for s in range(10)])


def test_weight_decay_spares_the_norms():
    groups = quiet(small_gpt(), weight_decay=0.3).optimizer.param_groups
    assert groups[0]["weight_decay"] == 0.3
    assert all(p.ndim == 2 for p in groups[0]["params"])
    assert groups[1]["weight_decay"] == 0
    assert all(p.ndim == 1 for p in groups[1]["params"])


def test_lora_training_learns_and_leaves_the_base_alone():
    model = lora_model()
    bits = digest(model.base)
    history = quiet(
        model, max_steps=40, learning_rate=2e-2, validation_data=data(8, seed=9), eval_steps=20
    ).train()
    assert history.losses[-1] < 0.7 * history.losses[0]
    assert history.validation_steps == [0, 20, 40]
    assert history.validation_losses[-1] < history.validation_losses[0]
    assert digest(model.base) == bits
    assert (
        len(history.losses)
        == len(history.tokens)
        == len(history.seconds)
        == len(history.learning_rates)
        == 40
    )
    assert history.tokens_per_second > 0
    assert history.peak_memory > 10**7
    assert "40 steps" in repr(history)


def test_full_fine_tuning_moves_every_tensor():
    model = small_gpt()
    before = trained(model)
    quiet(
        model, train_data=TokenData(torch.arange(100).view(5, 20), (torch.arange(100).view(5, 20) + 1) % 100)
    ).train()
    assert all(not torch.equal(before[name], p) for name, p in trained(model).items())


def test_a_transformers_model_trains_too():
    model = add_lora(tiny_llama(), LoraConfig(r=4))
    history = quiet(model, max_steps=30).train()
    assert history.losses[-1] < history.losses[0]


def test_evaluate_is_the_mean_over_targets():
    model, d = small_gpt(), data()
    expected = F.cross_entropy(
        logits(model, d.input_ids).flatten(0, 1), d.targets.flatten(), ignore_index=IGNORE
    )
    assert evaluate(model, d, batch_size=7) == pytest.approx(expected.item(), rel=1e-5)


# -- the same again, and going on ----------------------------------------------------------------------------


def test_the_seed_decides_everything():
    runs = []
    for seed in (3, 3, 4):
        torch.manual_seed(seed + 100 * len(runs))  # what the reader did before must not matter
        model = lora_model(dropout=0.2)
        torch.manual_seed(len(runs))
        quiet(model, seed=seed).train()
        runs.append(trained(model))
    assert equal(runs[0], runs[1])
    assert not equal(runs[0], runs[2])


def test_training_does_not_disturb_the_readers_random_numbers():
    model = lora_model(dropout=0.2)
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    quiet(model).train()
    assert torch.equal(torch.rand(3), expected)


@pytest.mark.parametrize("method", ["lora", "full"])
def test_a_resumed_run_is_bit_equal_to_an_uninterrupted_one(method, tmp_path):
    def build():
        return lora_model(dropout=0.3) if method == "lora" else small_gpt()

    settings = {"validation_data": data(4, seed=5), "eval_steps": 2}
    whole = build()
    history = quiet(whole, **settings).train()

    first = build()
    trainer = quiet(first, **settings, output_dir=tmp_path, save_steps=4)
    run_steps(trainer, 4)  # and then the machine is switched off

    second = build()
    resumed = quiet(second, **settings, output_dir=tmp_path)
    resumed.resume()
    again = resumed.train()
    assert equal(trained(whole), trained(second))
    assert again.losses == history.losses
    assert again.validation_losses == history.validation_losses
    assert again.validation_steps == history.validation_steps


def run_steps(trainer: Trainer, steps: int) -> None:
    """Trains, but stops after so many steps, as a person would."""
    step = trainer._train_step

    def counted() -> float:
        loss = step()
        if trainer.step >= steps:
            trainer.stop()
        return loss

    trainer._train_step = counted
    trainer.train()


def test_stop_keeps_the_trained_state_and_train_goes_on():
    whole, stopped = lora_model(), lora_model()
    quiet(whole).train()
    trainer = quiet(stopped)
    run_steps(trainer, 2)
    assert len(trainer.history.losses) == 2
    assert not equal(trained(stopped), trained(lora_model()))
    del trainer._train_step
    assert len(trainer.train().losses) == 6
    assert equal(trained(whole), trained(stopped))


@pytest.mark.skipif(os.name == "nt", reason="Windows cannot send itself an interrupt")
def test_an_interrupt_ends_after_the_step_and_returns_the_history():
    model = lora_model()
    trainer = quiet(model, max_steps=10_000)
    before = signal.getsignal(signal.SIGINT)
    timer = threading.Timer(0.5, lambda: os.kill(os.getpid(), signal.SIGINT))
    timer.start()
    history = trainer.train()
    assert 0 < len(history.losses) < 10_000
    assert trainer.step == len(history.losses)
    assert signal.getsignal(signal.SIGINT) is before
    assert not equal(trained(model), trained(lora_model()))


def test_a_stopped_run_says_where_it_stopped_and_how_to_continue(capsys):
    trainer = quiet(lora_model(), progress=True)
    trainer.on_step = lambda trainer: trainer.stop()
    trainer.train()
    said = capsys.readouterr().out
    assert "after step 1 of 6" in said
    assert "train()" in said
    trainer.on_step = None
    trainer.train()
    assert capsys.readouterr().out == ""


def test_a_trainer_goes_back_to_before_its_first_step(tmp_path):
    trainer = quiet(lora_model(), output_dir=tmp_path)
    trainer.save()
    trainer.train()
    once = trained(trainer.model)
    trainer.resume()
    trainer.train()
    assert equal(trained(trainer.model), once), "the optimizer's averages must go back too"


def test_a_resume_of_another_run_is_refused(tmp_path):
    trainer = quiet(lora_model(), output_dir=tmp_path)
    trainer.train()
    trainer.save()
    other = quiet(lora_model(), output_dir=tmp_path, learning_rate=0.5, seed=2)
    before = trained(other.model)
    with pytest.raises(ValueError, match=r"learning_rate was 0.005 and is now 0.5; seed was 0 and is now 2"):
        other.resume()
    assert equal(trained(other.model), before)


def other_data() -> TokenData:
    changed = data()
    changed.input_ids[0, 0] += 1
    return changed


@pytest.mark.parametrize(
    ("build", "settings", "what"),
    [
        (lambda: lora_model(dropout=0.3), {}, "the adapter has other settings"),
        (
            lambda: add_lora(small_gpt(), LoraConfig(r=4, lora_alpha=9, target_modules="attention")),
            {},
            "the adapter has other settings",
        ),
        (
            lambda: add_lora(small_gpt(seed=1), lora_model().peft_config["default"]),
            {},
            "base model is not the same",
        ),
        (
            lambda: add_lora(quantize_model(small_gpt())[0], lora_model().peft_config["default"]),
            {},
            "the base model is not the same",
        ),
        (lora_model, {"train_data": other_data()}, "the training data is not the same"),
    ],
    ids=["dropout", "alpha", "another base", "the base in 4 bits", "other text of the same size"],
)
def test_a_resume_with_another_model_or_other_text_is_refused(build, settings, what, tmp_path):
    quiet(lora_model(), output_dir=tmp_path).save()
    with pytest.raises(ValueError, match=what):
        quiet(build(), output_dir=tmp_path, **settings).resume()
    quiet(lora_model(), output_dir=tmp_path).resume()


def test_a_damaged_state_is_refused(tmp_path):
    trainer = quiet(lora_model(), output_dir=tmp_path)
    with pytest.raises(FileNotFoundError, match=r"training_state\.safetensors"):
        trainer.resume()
    trainer.train()
    trainer.save()
    path = tmp_path / "training_state.safetensors"
    path.write_bytes(path.read_bytes()[:-50])
    with pytest.raises(ValueError, match="not a valid safetensors file"):
        trainer.resume()


# -- bad input -----------------------------------------------------------------------------------------------


def test_a_loss_that_is_no_number_stops_and_keeps_the_last_good_adapter():
    model = lora_model()
    trainer = quiet(model, learning_rate=1e30, warmup_ratio=0.0)
    with pytest.raises(TrainingDiverged, match=r"step 2: the loss is nan.*learning_rate below 1e\+30"):
        trainer.train()
    assert equal(trained(model), trained(lora_model())), (
        "the step before the first bad loss was already the bad one"
    )


def test_full_fine_tuning_that_diverges_does_not_claim_a_copy():
    with pytest.raises(TrainingDiverged, match="there is no earlier copy of a whole model: load it again"):
        quiet(small_gpt(), learning_rate=1e30, warmup_ratio=0.0).train()


def test_checkpointing_lasts_through_validation():
    model = small_gpt()
    trainer = quiet(model, gradient_checkpointing=True, validation_data=data(4, seed=5), eval_steps=2)
    seen = []
    trainer.on_step = lambda trainer: seen.append(model.model.gradient_checkpointing)
    trainer.train()
    assert seen == [True] * 6


def test_evaluating_text_without_targets_is_refused():
    with pytest.raises(ValueError, match="no token to learn"):
        evaluate(small_gpt(), TokenData(torch.zeros(2, 5).long(), torch.full((2, 5), IGNORE)))


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"train_data": ["some text"]}, TypeError, "make it from text first"),
        (
            {"train_data": TokenData(torch.zeros(0, 5).long(), torch.zeros(0, 5).long())},
            ValueError,
            "no token to learn",
        ),
        (
            {"train_data": TokenData(torch.zeros(2, 5).long(), torch.full((2, 5), IGNORE))},
            ValueError,
            "no token to learn",
        ),
        ({"epochs": 2}, ValueError, "give one of the two"),
        ({"max_steps": None}, ValueError, "give one of the two"),
        ({"max_steps": 0}, ValueError, "max_steps is 0"),
        ({"batch_size": 1.5}, ValueError, "batch_size is 1.5"),
        ({"save_steps": 5}, ValueError, "needs a folder"),
        ({"max_steps": True}, ValueError, "max_steps is True"),
        ({"eval_steps": -1}, ValueError, "eval_steps is -1"),
        ({"warmup_ratio": 3.0}, ValueError, "warmup_ratio is 3.0; it must be a number from 0 to 1"),
        ({"weight_decay": -1}, ValueError, "weight_decay is -1"),
        ({"learning_rate": float("nan")}, ValueError, "learning_rate is nan"),
        ({"max_grad_norm": 0.0}, ValueError, "max_grad_norm is 0.0"),
    ],
)
def test_bad_settings_say_what_is_allowed(settings, error, message):
    with pytest.raises(error, match=message):
        quiet(lora_model(), **settings)


def test_nothing_trainable_is_an_error_that_says_what_to_do(tmp_path):
    with pytest.raises(ValueError, match="every parameter is frozen"):
        quiet(small_gpt().requires_grad_(False))
    model = lora_model()
    model.save_adapter(tmp_path)
    model.load_adapter(tmp_path, "loaded")
    model.set_adapter("loaded")
    with pytest.raises(ValueError, match="is_trainable=True"):
        quiet(model)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")
def test_a_gpu_is_used_and_the_model_comes_back():
    model, places = small_gpt(), []
    trainer = quiet(model, max_steps=2)
    trainer.on_step = lambda trainer: places.append(next(model.parameters()).device.type)
    trainer.train()
    assert places == ["cuda", "cuda"]
    assert {p.device.type for p in model.parameters()} == {"cpu"}
    trainer.max_steps = 3
    trainer.train()  # goes on there
    assert places == ["cuda"] * 3


def test_a_device_may_be_named():
    assert quiet(small_gpt(), max_steps=1, device="cpu").device == torch.device("cpu")


def test_a_longer_run_goes_on_from_a_shorter_one_only_where_that_is_asked_for(tmp_path):
    short = quiet(lora_model(), max_steps=3, output_dir=tmp_path)
    short.train()
    short.save()
    longer = quiet(lora_model(), max_steps=5, output_dir=tmp_path)
    with pytest.raises(ValueError, match="max_steps was 3 and is now 5"):
        longer.resume()
    longer.resume(extend=True)
    longer.train()
    assert longer.history.losses[:3] == short.history.losses
    assert longer.history.learning_rates[3] == longer.learning_rate * schedule(3, 5, longer.warmup_ratio)
    with pytest.raises(ValueError, match="max_steps was 3 and is now 2"):
        quiet(lora_model(), max_steps=2, output_dir=tmp_path).resume(extend=True)


def test_the_other_schedules_fall_as_in_transformers():
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    theirs = peer("transformers").get_linear_schedule_with_warmup(optimizer, 10, 50)
    linear = []
    for _ in range(50):
        optimizer.step()
        linear.append(theirs.get_last_lr()[0])
        theirs.step()
    # ours is never 0 in the first step: it counts the step that is made, theirs those before it
    assert [schedule(step, 50, 0.2, "linear") for step in range(10, 50)] == pytest.approx(linear[10:])
    assert {schedule(step, 50, 0.2, "constant") for step in range(10, 50)} == {1.0}
    with pytest.raises(ValueError, match="lr_scheduler_type is 'cos'; choose from cosine, linear, constant"):
        quiet(lora_model(), lr_scheduler_type="cos")


@pytest.mark.parametrize(("device", "backend"), [("cpu", "gloo"), ("cuda", "nccl")])
def test_processes_talk_as_their_device_needs(device, backend, monkeypatch):
    """On a machine with one GPU: two processes may train on its CPU, but not on the GPU."""
    started = []
    for name, value in {"TORCHELASTIC_RUN_ID": "x", "LOCAL_RANK": "0"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "set_device", lambda number: None)
    monkeypatch.setattr(torch.distributed, "init_process_group", started.append)
    monkeypatch.setattr(torch.distributed, "get_rank", lambda: 0)
    monkeypatch.setattr(torch.distributed, "get_world_size", lambda: 2)
    assert join_processes(torch.device(device)) == (0, 2)
    assert started == [backend]
    monkeypatch.setenv("LOCAL_RANK", "1")
    if device == "cpu":
        join_processes(torch.device("cpu"))
    else:
        with pytest.raises(ValueError, match=r"1 GPU\(s\) here"):
            join_processes(torch.device("cuda"))
