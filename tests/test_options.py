"""Options that are declared once: the command line and a TOML file read them, and messages name them."""

import dataclasses

import pytest

from minilora import cli
from minilora.finetune import FinetuneSettings
from minilora.options import Options, as_toml, name_options, option, parse, read_config


@dataclasses.dataclass(kw_only=True)
class Example(Options):
    size: int = option(4, "group", "how large", least=1, most=9)
    rate: float | None = option(None, "group", "how fast", least=0)
    names: list[str] = option(["a"], "group", "which")
    quick: bool = option(False, "group", "hurry")
    kind: str = option("red", "group", "what kind", choices=("red", "blue"))


def read(*words: str) -> Example:
    return parse(Example, words, "program", "about", "", config=True)


def test_types_come_from_annotations_and_what_was_given_is_known():
    found = read("--size", "7", "--rate", "0.5", "--names", "x", "y", "--quick")
    assert (found.size, found.rate, found.names, found.quick) == (7, 0.5, ["x", "y"], True)
    assert found.given == {"size", "rate", "names", "quick"}
    assert read() == Example()
    assert read().given == set()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--size", "0"], "size is 0; it must be a whole number from 1 to 9"),
        (["--size", "10"], "size is 10"),
        (["--rate", "nan"], "rate is nan"),
        (["--rate", "inf"], "rate is inf"),
        (["--kind", "bleu"], "did you mean blue?"),
    ],
)
def test_what_is_out_of_range_is_refused(words, said):
    with pytest.raises(ValueError, match=r".") as refused:
        read(*words)
    assert said in str(refused.value)


def test_a_file_holds_the_same_options_and_the_command_line_wins(tmp_path, capsys):
    path = tmp_path / "run.toml"
    path.write_text('size = 3\nrate = 1\nnames = "x"\nquick = true\n', encoding="utf-8")
    found = read("--config", str(path), "--size", "5")
    assert found == Example(size=5, rate=1.0, names=["x"], quick=True)
    assert read("--config", str(path), "--print-config") is None
    again = tmp_path / "again.toml"
    again.write_text(capsys.readouterr().out, encoding="utf-8")
    assert read("--config", str(again)) == Example(size=3, rate=1.0, names=["x"], quick=True)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("sise = 3", "there is no option sise; did you mean size?"),
        ("size = 'three'", "size is 'three', which is no int"),
        ("size = true", "size is True, which is no int"),
        ("size = ", "is not TOML"),
    ],
)
def test_a_wrong_file_is_refused(text, said, tmp_path):
    path = tmp_path / "run.toml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match=r".") as refused:
        read_config(str(path), Example)
    assert said in str(refused.value)


def test_the_configuration_of_a_run_survives_a_file(tmp_path, capsys):
    words = ["--data", 'a "text".txt', "--out", "x", "--learning-rate", "1e-05", "--target-modules", "mlp"]
    assert cli.main(["finetune", *words, "--print-config"]) == 0
    path = tmp_path / "run.toml"
    path.write_text(capsys.readouterr().out, encoding="utf-8")
    settings = FinetuneSettings(data='a "text".txt', out="x", learning_rate=1e-5, target_modules=["mlp"])
    assert FinetuneSettings(**read_config(str(path), FinetuneSettings)) == settings
    assert as_toml(settings) == path.read_text(encoding="utf-8")


def test_messages_name_options():
    def named(text: str) -> str:
        return name_options(text, FinetuneSettings)

    assert named("max_steps=0: too few") == "--max-steps 0: too few"
    assert named("r is 0; the r of it") == "--r is 0; the r of it"
    assert named("pass use_rslora=True") == "pass --use-rslora"
    assert named("cannot read data/max_steps.txt") == "cannot read data/max_steps.txt"
