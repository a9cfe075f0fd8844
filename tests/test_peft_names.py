"""What a learner types here can be typed in PEFT, and means the same there.

Names, parameters and their order are compared with PEFT's own classes. A parameter that PEFT lacks must be
keyword-only here: passed by position, it would silently mean something else there.
"""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import pytest
import torch

from minilora.lora import LoraConfig, LoraLinear, LoraModel, add_lora
from minilora.lora.combining import COMBINATION_TYPES
from tests.helpers import randomize_adapter, small_gpt
from tests.test_lora import logits, tiny_llama

peft = pytest.importorskip("peft")

ROOT = Path(__file__).parents[1]
POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
OWN = {  # public names of ours that PEFT does not have, so they can be confused with nothing there
    "adapter_scales",
    "fingerprint",
    "lora_layers",
    "save_adapter",
    "set_adapters",
    "set_scale",
    "trainable_parameter_count",
    "trainable_parameters",
}


def theirs(name: str):
    """PEFT's attribute: of the model that a user holds, or, as there, of the tuner that it delegates to."""
    for owner in (peft.PeftModel, peft.tuners.lora.LoraModel):
        if name in vars(owner) or (hasattr(owner, name) and not hasattr(torch.nn.Module, name)):
            return getattr(owner, name)
    return None


def public_names(cls: type) -> list[str]:
    own = [name for base in cls.__mro__ if base.__module__.startswith("minilora") for name in vars(base)]
    return sorted({name for name in own if not name.startswith("_")})


def traps(ours: inspect.Signature, other: inspect.Signature) -> list[str]:
    """How a call that works with our signature could fail or mean something else with the other one."""
    found = []
    named = {n: p for n, p in other.parameters.items() if p.kind in (*POSITIONAL, p.KEYWORD_ONLY)}
    takes_any = any(p.kind is p.VAR_POSITIONAL for p in other.parameters.values())
    order = [n for n, p in named.items() if p.kind in POSITIONAL]
    place = 0
    for name, parameter in ours.parameters.items():
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            continue
        if parameter.kind in POSITIONAL:
            if order[place : place + 1] != [name] and not takes_any:
                found.append(f"position {place} is {name} here and {order[place : place + 1]} there")
            place += 1
        if name in named:
            required = named[name].default is inspect.Parameter.empty
            if required and parameter.default is not inspect.Parameter.empty:
                found.append(f"{name} may be left out here and must be given there")
            if not required and parameter.default not in (inspect.Parameter.empty, named[name].default):
                found.append(f"{name} is {parameter.default} here and {named[name].default} there by default")
    return found


SHARED = [name for name in public_names(LoraModel) if name not in OWN]


def test_every_public_name_is_pefts_or_declared_as_our_own():
    assert [name for name in SHARED if theirs(name) is None] == []
    assert {name for name in OWN if theirs(name) is not None} == set()
    assert set(public_names(LoraModel)) >= OWN
    assert len(SHARED) >= 12


@pytest.mark.parametrize("name", SHARED)
def test_a_shared_name_takes_the_same_arguments(name):
    ours, other = inspect.getattr_static(LoraModel, name), theirs(name)
    assert isinstance(ours, property) == isinstance(other, property)
    if not isinstance(ours, property):
        found = traps(inspect.signature(getattr(LoraModel, name)), inspect.signature(other))
        assert found == [], f"{name}: {found}"


@pytest.mark.parametrize("name", ["get_delta_weight", "delete_adapter", "forward"])
def test_the_layers_shared_names_take_the_same_arguments(name):
    found = traps(
        inspect.signature(getattr(LoraLinear, name)),
        inspect.signature(getattr(peft.tuners.lora.Linear, name)),
    )
    assert found == []


def test_set_scale_is_that_of_pefts_layer():
    ours, other = (inspect.signature(owner.set_scale) for owner in (LoraModel, peft.tuners.lora.Linear))
    assert list(ours.parameters) == list(other.parameters)


def test_add_lora_takes_what_get_peft_model_takes():
    assert traps(inspect.signature(add_lora), inspect.signature(peft.get_peft_model)) == []


def test_the_config_has_pefts_names_and_defaults():
    ours, other = inspect.signature(LoraConfig).parameters, inspect.signature(peft.LoraConfig).parameters
    for name, parameter in ours.items():
        assert parameter.kind is parameter.KEYWORD_ONLY, f"{name}: PEFT's first positional field is task_type"
        assert parameter.default == other[name].default, name


def test_a_trap_is_noticed():
    """The one that started this file: PEFT's second argument is inference_mode."""

    def set_adapter(self, adapter_name, strength=1.0): ...

    def load_adapter(self, model_id, adapter_name="default", is_trainable=True): ...

    assert len(traps(inspect.signature(set_adapter), inspect.signature(theirs("set_adapter")))) == 1
    assert len(traps(inspect.signature(load_adapter), inspect.signature(theirs("load_adapter")))) == 2


# -- the same meaning: one script, run on both ---------------------------------------------------------------


def pair():
    """Two adapters with equal weights, here and in PEFT."""
    names = {"first": {"r": 2, "lora_alpha": 5}, "second": {"r": 3, "lora_alpha": 4}}
    targets = ["q_proj", "v_proj"]
    ours = add_lora(tiny_llama(), LoraConfig(target_modules=targets, **names["first"]), "first")
    other = peft.get_peft_model(
        tiny_llama(), peft.LoraConfig(target_modules=targets, **names["first"]), "first"
    )
    ours.add_adapter("second", LoraConfig(target_modules=targets, **names["second"]))
    other.add_adapter("second", peft.LoraConfig(target_modules=targets, **names["second"]))
    for seed, name in enumerate(names):
        randomize_adapter(ours, name, seed)
        for path, layer in ours.lora_layers().items():
            there = other.base_model.model.get_submodule(path)
            for side in ("lora_A", "lora_B"):
                getattr(there, side)[name].weight.data.copy_(getattr(layer, side)[name].data)
    return ours.eval(), other.eval()


SCRIPTS = {
    "add_adapter does not switch": lambda m: None,
    "set_adapter": lambda m: m.set_adapter("second"),
    "delete_adapter": lambda m: (m.set_adapter("second"), m.delete_adapter("second")),
    "merge_adapter": lambda m: (m.set_adapter("second"), m.merge_adapter()),
    "unmerge_adapter": lambda m: (m.merge_adapter(), m.unmerge_adapter()),
    "combine by cat": lambda m: (
        m.add_weighted_adapter(["first", "second"], [0.7, -0.4], "both", "cat"),
        m.set_adapter("both"),
    ),
    "combine by svd": lambda m: (
        m.add_weighted_adapter(["first", "second"], [0.7, 0.4], "both", svd_rank=2),
        m.set_adapter("both"),
    ),
    "combine with the default settings": lambda m: (
        m.add_weighted_adapter(["first", "second"], [0.7, 0.4], "both"),
        m.set_adapter("both"),
    ),
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("script", SCRIPTS.values(), ids=SCRIPTS.keys())
def test_a_script_does_the_same_here_and_there(script):
    ours, other = pair()
    for model in (ours, other):
        script(model)
    assert ours.active_adapters == other.active_adapters
    # float32, products summed in another order: some 1e-6 of logits of size ten
    assert torch.allclose(logits(ours), logits(other), atol=1e-4)
    assert {name: config.r for name, config in ours.peft_config.items()} == {
        name: config.r for name, config in other.peft_config.items()
    }


def test_a_mixed_batch_and_a_disabled_adapter_are_the_same():
    ours, other = pair()
    ids = torch.arange(1, 31).view(3, 10)
    names = ["second", "__base__", "first"]
    with torch.no_grad():
        assert torch.allclose(
            ours(ids, adapter_names=names).logits, other(ids, adapter_names=names).logits, atol=1e-4
        )
        for model in (ours, other):
            with pytest.raises(ValueError, match=r"(?i)inference|training mode"):
                model.train()(ids, adapter_names=names)
            model.eval()
        with ours.disable_adapter(), other.disable_adapter():
            assert torch.equal(ours(ids).logits, other(ids).logits)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("finish", ["unload", "merge_and_unload"])
def test_the_base_comes_back_the_same(finish):
    ours, other = pair()
    assert torch.allclose(logits(getattr(ours, finish)()), logits(getattr(other, finish)()), atol=1e-4)


@pytest.mark.filterwarnings("ignore")
def test_saving_all_adapters_makes_the_same_folders(tmp_path):
    ours, other = pair()
    for folder, model in ((tmp_path / "ours", ours), (tmp_path / "theirs", other)):
        model.save_pretrained(folder)
    weights = {
        folder: sorted(p.relative_to(tmp_path / folder) for p in (tmp_path / folder).rglob("*.safetensors"))
        for folder in ("ours", "theirs")
    }
    assert weights["ours"] == weights["theirs"]
    assert len(weights["ours"]) == 2
    # and the line that opens them is the same
    for cls in (LoraModel, peft.PeftModel):
        again = cls.from_pretrained(tiny_llama(), tmp_path / "ours" / "second")
        assert again.active_adapters == ["default"]
        again.load_adapter(tmp_path / "theirs" / "first", "first")
        assert again.active_adapters == ["default"]
        ours.set_adapter("second")
        assert torch.allclose(logits(again.eval()), logits(ours), atol=1e-4)


def test_one_default_adapter_is_saved_into_the_folder_itself(tmp_path):
    model = add_lora(small_gpt(), LoraConfig())
    model.add_adapter("poet", LoraConfig(r=2))
    model.save_pretrained(tmp_path, selected_adapters=["default"])
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "adapter_config.json",
        "adapter_model.safetensors",
    ]
    with pytest.raises(ValueError, match="no adapter 'nobody'"):
        model.save_pretrained(tmp_path / "new", selected_adapters=["default", "nobody"])
    assert not (tmp_path / "new").exists()


# -- the tables in the docs ----------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["docs/peft.md", "notebooks/src/08_peft_in_practice.py"])
def test_the_table_names_what_exists_on_both_sides(path):
    text = (ROOT / path).read_text(encoding="utf-8")
    rows = re.findall(r"^(?:# )?\| `(.+?)` \| `(.+?)` \|", text, re.MULTILINE)
    assert len(rows) == 10
    ours = {"add_lora": add_lora, "LoraConfig": LoraConfig}
    other = {"get_peft_model": peft.get_peft_model, "LoraConfig": peft.LoraConfig}
    for here, there in rows:
        for code, known, cls in ((here, ours, LoraModel), (there, other, None)):
            call = re.sub(r"^(model\.base_model|model|LoraModel|PeftModel)\.", "", code)
            name = re.match(r"\w+", call)[0]
            if name == "model":  # a call of the model itself
                continue
            found = known.get(name) or (getattr(cls, name, None) if cls else theirs(name))
            assert found is not None, f"{code}: there is no {name}"


def test_unknown_combination_types_are_refused_by_name():
    model, _ = pair()
    for kind in ("linear", "ties", "dare_linear"):
        with pytest.raises(ValueError, match=f"combination_type is '{kind}'"):
            model.add_weighted_adapter(["first", "second"], [1.0, 1.0], "both", kind)
    assert list(model.peft_config) == ["first", "second"]
    assert set(COMBINATION_TYPES) <= set(
        re.findall(
            r"'(\w+)'", str(inspect.signature(theirs("add_weighted_adapter")).parameters["combination_type"])
        )
    )
