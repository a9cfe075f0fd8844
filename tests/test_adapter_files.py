"""Adapters on disk: round trips with peft in both directions, and every silent trap turned into a loud error."""

import json
import shutil
import subprocess
import sys
import tempfile
import textwrap
from pathlib import Path

import peft
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from transformers import LlamaForCausalLM

from minilora.gpt import GPT
from minilora.lora import LoraConfig, add_lora
from tests.helpers import randomize_adapter, small_gpt
from tests.test_lora import digest, logits, tiny_gpt2, tiny_llama

BASES = {"our GPT": small_gpt, "Llama": tiny_llama, "GPT-2 with Conv1D": tiny_gpt2}
SETTINGS = {
    "attention": {"r": 4, "lora_alpha": 10, "target_modules": "attention"},
    "rsLoRA where alpha / r is not alpha / sqrt(r)": {
        "r": 5,
        "lora_alpha": 3,
        "use_rslora": True,
        "target_modules": "mlp",
    },
    "all-linear with dropout": {"r": 2, "lora_alpha": 2, "lora_dropout": 0.1, "target_modules": "all-linear"},
}


def adapted(build, **settings):
    model = add_lora(build(), LoraConfig(**settings)).eval()
    randomize_adapter(model)
    return model


def peft_reads(base, folder):
    """The base with the adapter of `folder`, read by peft alone; our GPT goes through transformers, as peft wants."""
    if isinstance(base, GPT):
        with tempfile.TemporaryDirectory() as checkpoint:
            base.save_pretrained(checkpoint)
            base = LlamaForCausalLM.from_pretrained(checkpoint)
    return peft.PeftModel.from_pretrained(base, str(folder)).eval()


def same(ours, theirs):
    """Equal to the bit on a transformers base; our own GPT may round differently from transformers' Llama."""
    return torch.equal(ours, theirs) or torch.allclose(ours, theirs, rtol=0, atol=1e-5)


# -- round trips ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("build", BASES.values(), ids=BASES.keys())
@pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS.keys())
def test_peft_loads_our_adapter_with_equal_logits(build, settings, tmp_path):
    model = adapted(build, **settings)
    model.save_adapter(tmp_path)
    assert same(logits(model), logits(peft_reads(build(), tmp_path)))


@pytest.mark.parametrize("build", BASES.values(), ids=BASES.keys())
@pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS.keys())
def test_we_load_pefts_adapter_with_equal_logits(build, settings, tmp_path):
    names = sorted({path.split(".")[-1] for path in adapted(build, **settings).lora_layers()})
    theirs = peft.get_peft_model(build(), peft.LoraConfig(**settings | {"target_modules": names})).eval()
    with torch.no_grad():
        for name, parameter in theirs.named_parameters():
            if "lora_" in name:
                parameter.normal_(std=0.3)
    theirs.save_pretrained(str(tmp_path))
    ours = (
        add_lora(build(), LoraConfig(), "other")
        if build is not tiny_gpt2
        else adapted(build, target_modules="attention")
    )
    ours.load_adapter(tmp_path, "theirs")
    ours.set_adapter("theirs")
    assert torch.equal(logits(ours), logits(theirs))


def test_each_adapter_of_a_peft_model_with_two_is_read_from_its_own_folder(tmp_path):
    """peft puts "default" into the folder itself, and every other adapter into a folder of its name in there."""
    theirs = peft.get_peft_model(tiny_llama(), peft.LoraConfig(r=4, lora_alpha=10, target_modules=["q_proj"]))
    theirs.add_adapter("poet", peft.LoraConfig(r=3, lora_alpha=2, target_modules=["up_proj", "v_proj"]))
    theirs.eval()
    with torch.no_grad():
        for name, parameter in theirs.named_parameters():
            if "lora_" in name:
                parameter.normal_(std=0.3)
    theirs.save_pretrained(str(tmp_path))
    ours = add_lora(tiny_llama(), LoraConfig(), "other")
    answers = []
    for name, folder in {"default": tmp_path, "poet": tmp_path / "poet"}.items():
        ours.load_adapter(folder, name)
        ours.set_adapter(name)
        theirs.set_adapter(name)
        answers.append(logits(ours))
        assert torch.equal(answers[-1], logits(theirs)), name
    assert not torch.equal(*answers)


def test_several_adapters_and_a_combination_travel_one_by_one(tmp_path):
    model = adapted(small_gpt, r=4, target_modules="attention")
    model.add_adapter("second", LoraConfig(r=2, lora_alpha=6, target_modules="mlp"))
    randomize_adapter(model, "second", seed=1)
    model.add_weighted_adapter(["default", "second"], [0.6, 0.9], "both", "cat")
    for name in ("default", "second", "both"):
        model.save_adapter(tmp_path / name, name)
        model.set_adapter(name)
        assert same(logits(model), logits(peft_reads(small_gpt(), tmp_path / name)))
    again = add_lora(small_gpt(), LoraConfig(), "unused")
    for name in ("default", "second", "both"):
        again.load_adapter(tmp_path / name, name)
        again.set_adapter(name)
        model.set_adapter(name)
        assert torch.equal(logits(again), logits(model))


def test_the_file_is_the_matrices_and_a_header(tmp_path):
    model = adapted(small_gpt, r=4, target_modules="attention")
    model.save_adapter(tmp_path)
    path = tmp_path / "adapter_model.safetensors"
    header = 8 + int.from_bytes(path.read_bytes()[:8], "little")
    weights = sum(4 * (i + o) for i, o in [(64, 64), (64, 32), (64, 32), (64, 64)] * 2)  # Σ r (in + out)
    assert path.stat().st_size == 4 * weights + header
    assert all(".lora_A." in name or ".lora_B." in name for name in load_file(path))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["adapter_config.json", "adapter_model.safetensors"]


def test_a_loaded_adapter_is_frozen_unless_it_is_loaded_to_be_trained(tmp_path):
    adapted(small_gpt).save_adapter(tmp_path)
    model = add_lora(small_gpt(), LoraConfig(), "fresh")
    model.load_adapter(tmp_path, "frozen")
    assert model.active_adapters == ["fresh"], "as in PEFT, loading does not switch"
    model.set_adapter("frozen")
    assert model.trainable_parameter_count() == 0
    model.load_adapter(tmp_path, "going-on", is_trainable=True)
    model.set_adapter("going-on")
    assert model.trainable_parameter_count() > 0


# -- loud errors ---------------------------------------------------------------------------------------------


def edit_config(**changes):
    def edit(folder: Path) -> None:
        path = folder / "adapter_config.json"
        config = json.loads(path.read_text(encoding="utf-8")) | changes
        path.write_text(json.dumps({k: v for k, v in config.items() if v != "remove"}), encoding="utf-8")
        edit_tensors(lambda tensors: tensors)(
            folder
        )  # drops our metadata: the folder looks like any other tool's

    return edit


def edit_tensors(change):
    def edit(folder: Path) -> None:
        path = folder / "adapter_model.safetensors"
        save_file(change(load_file(path)), path)

    return edit


A0 = "base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight"
TRAPS = {
    "alpha missing": (edit_config(lora_alpha="remove"), "has no lora_alpha"),
    "rank missing": (edit_config(r="remove"), "has no r;"),
    "targets missing": (edit_config(target_modules="remove"), "has no target_modules"),
    "another method": (edit_config(peft_type="IA3"), "only 'LORA'"),
    "DoRA": (edit_config(use_dora=True), "use_dora is True"),
    "rank by pattern": (edit_config(rank_pattern={"q_proj": 2}), "with r=2 needs"),
    "a pattern of no rank": (edit_config(rank_pattern={"q_proj": 2.5}), "rank_pattern is"),
    "a pattern that is none": (edit_config(alpha_pattern={"(": 3}), "alpha_pattern"),
    "unknown target": (edit_config(target_modules=["c_attn"]), "no linear layer is called 'c_attn'"),
    "fewer targets than tensors": (edit_config(target_modules=["q_proj"]), "not a target in this model"),
    "more targets than tensors": (
        edit_config(target_modules=["q_proj", "v_proj", "up_proj"]),
        "has no matrices for it",
    ),
    "another rank": (edit_config(r=3), r"with r=3 needs"),
    "wrong prefix": (
        edit_tensors(lambda t: {k.removeprefix("base_model.model."): v for k, v in t.items()}),
        "is not of the form",
    ),
    "one tensor missing": (
        edit_tensors(lambda t: {k: v for k, v in t.items() if k != A0}),
        "has only lora_B",
    ),
    "no tensors": (edit_tensors(lambda t: {}), "no LoRA tensors"),
    "a foreign tensor": (
        edit_tensors(lambda t: t | {"model.norm.weight": torch.ones(64)}),
        "is not of the form",
    ),
    "another shape": (edit_tensors(lambda t: t | {A0: torch.ones(8, 63)}), "this base with r=8 needs"),
    "config is no JSON": (
        lambda f: (f / "adapter_config.json").write_text("{", encoding="utf-8"),
        "not valid JSON",
    ),
    "config is a list": (
        lambda f: (f / "adapter_config.json").write_text("[]", encoding="utf-8"),
        "holds a list",
    ),
    "cut off": (
        lambda f: (f / "adapter_model.safetensors").write_bytes(
            (f / "adapter_model.safetensors").read_bytes()[:-100]
        ),
        "not a valid safetensors file",
    ),
}


@pytest.mark.parametrize(("spoil", "message"), TRAPS.values(), ids=TRAPS.keys())
def test_a_spoiled_folder_is_refused_and_changes_nothing(spoil, message, tmp_path):
    adapted(small_gpt).save_adapter(tmp_path)
    spoil(tmp_path)
    model = adapted(small_gpt, r=2, target_modules="all-linear")
    before, names, bits = logits(model), set(model.state_dict()), digest(model)
    with pytest.raises(ValueError, match=message):
        model.load_adapter(tmp_path, "spoiled")
    assert torch.equal(logits(model), before)
    assert set(model.state_dict()) == names
    assert digest(model) == bits


@pytest.mark.parametrize("missing", ["adapter_config.json", "adapter_model.safetensors", "."])
def test_missing_files_are_named(missing, tmp_path):
    folder = tmp_path / "adapter"
    adapted(small_gpt).save_adapter(folder)
    (folder / missing).unlink() if missing != "." else shutil.rmtree(folder)
    with pytest.raises(FileNotFoundError, match=missing if missing != "." else "no adapter folder"):
        add_lora(small_gpt(), LoraConfig(), "x").load_adapter(folder, "default")


def test_another_base_is_refused_unless_one_insists(tmp_path):
    adapted(lambda: small_gpt(seed=0)).save_adapter(tmp_path)
    other = add_lora(small_gpt(seed=1), LoraConfig(), "x")
    with pytest.raises(ValueError, match="another base model"):
        other.load_adapter(tmp_path, "from-elsewhere")
    assert list(other.peft_config) == ["x"]
    other.load_adapter(tmp_path, "from-elsewhere", any_base=True)


def test_loading_over_a_name_is_an_error_or_a_clean_replacement(tmp_path):
    adapted(small_gpt, r=2, target_modules=["v_proj"]).save_adapter(tmp_path)
    model = adapted(small_gpt, r=8, target_modules="all-linear")
    with pytest.raises(ValueError, match="exists already"):
        model.load_adapter(tmp_path, "default")
    model.load_adapter(tmp_path, "default", replace=True)
    fresh = add_lora(small_gpt(), LoraConfig(), "x")
    fresh.load_adapter(tmp_path, "default")
    fresh.set_adapter("default")
    assert torch.equal(logits(model), logits(fresh)), "nothing of the old adapter may be left"


@pytest.mark.parametrize("name", ["mlp", "a.b", ""])
def test_loading_under_a_name_that_cannot_be_is_refused_and_changes_nothing(name, tmp_path):
    adapted(small_gpt, r=2).save_adapter(tmp_path)
    model = adapted(small_gpt)
    before, names = logits(model), set(model.state_dict())
    with pytest.raises(ValueError, match="cannot name an adapter"):
        model.load_adapter(tmp_path, name)
    assert torch.equal(logits(model), before)
    assert set(model.state_dict()) == names


def test_a_failing_replacement_keeps_the_old_adapter(tmp_path):
    adapted(small_gpt, r=2).save_adapter(tmp_path)
    edit_config(r=3)(tmp_path)
    model = adapted(small_gpt)
    before = logits(model)
    with pytest.raises(ValueError, match="needs"):
        model.load_adapter(tmp_path, "default", replace=True)
    assert torch.equal(logits(model), before)


# -- writing -------------------------------------------------------------------------------------------------


def test_settings_that_were_edited_apart_from_the_weights_do_not_count(tmp_path):
    model = adapted(small_gpt, r=4, lora_alpha=12)
    model.save_adapter(tmp_path)
    path = tmp_path / "adapter_config.json"
    path.write_text(
        path.read_text(encoding="utf-8").replace('"lora_alpha": 12', '"lora_alpha": 3'), encoding="utf-8"
    )
    again = add_lora(small_gpt(), LoraConfig(), "x")
    with pytest.warns(UserWarning, match="lora_alpha differ"):
        again.load_adapter(tmp_path, "kept")
    again.set_adapter("kept")
    assert torch.equal(logits(again), logits(model))


@pytest.mark.skipif(
    sys.platform == "win32", reason="Windows has no limit on a process's file size to fill a disk with"
)
def test_a_full_disk_leaves_the_old_adapter_whole(tmp_path):
    folder = tmp_path / "adapter"
    adapted(small_gpt).save_adapter(folder)
    before = {p.name: p.read_bytes() for p in folder.iterdir()}
    program = f"""
        import resource, signal
        from minilora.lora import LoraConfig, add_lora
        from tests.helpers import small_gpt
        model = add_lora(small_gpt(), LoraConfig(r=16, target_modules="all-linear"))
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # writing past the limit then fails as a full disk does
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
        try:
            model.save_adapter({str(folder)!r})
        except OSError as error:
            assert "files are unchanged" in str(error), error
        else:
            raise SystemExit("the save did not fail")
    """
    subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)], check=True, cwd=Path(__file__).parents[1]
    )
    assert {p.name: p.read_bytes() for p in folder.iterdir()} == before


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("in the way", encoding="utf-8")
    with pytest.raises(OSError, match=r"could not write adapter_config\.json"):
        adapted(small_gpt).save_adapter(tmp_path / "file" / "adapter")


@pytest.mark.skipif(
    sys.platform == "win32" or not hasattr(__import__("os"), "geteuid"), reason="needs Unix permissions"
)
def test_a_read_only_folder_is_named(tmp_path, monkeypatch):
    import os

    if os.geteuid() == 0:  # root may write anywhere: let the system's call answer as it does for others

        def refuse(*args, **kwargs):
            raise PermissionError(13, "Permission denied")

        monkeypatch.setattr("minilora.files.safe_files.save_file", refuse)
    else:
        tmp_path.chmod(0o500)
    with pytest.raises(OSError, match="Permission denied"):
        adapted(small_gpt).save_adapter(tmp_path)
    tmp_path.chmod(0o700)
    assert not list(tmp_path.iterdir())


def test_the_same_adapter_is_the_same_bytes(tmp_path):
    """The library alone writes the three entries of the metadata in one of six orders, drawn at each save."""
    model = adapted(small_gpt)
    files = set()
    for n in range(8):
        model.save_adapter(tmp_path / str(n))
        files.add((tmp_path / str(n) / "adapter_model.safetensors").read_bytes())
    assert len(files) == 1


def test_the_metadata_names_no_machine_and_no_pickle(tmp_path):
    adapted(small_gpt).save_adapter(tmp_path)
    with safe_open(tmp_path / "adapter_model.safetensors", "pt") as file:
        assert set(file.metadata()) == {"format", "minilora_base", "minilora_settings"}
