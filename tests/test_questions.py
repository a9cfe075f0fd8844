"""The chapter's questions: right and wrong answers, the numbers against the engine, a run checked from its folder."""

import json
import math
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

import minilora
from minilora import GPT, LoraConfig, LoraModel, Trainer, add_lora, encode_text, quantize_4bit, style_corpus
from minilora.exercises import expect, experiment, numbers, progress, rate, solution
from minilora.exercises.judging import (
    CORRECT,
    INCORRECT,
    KEPT,
    NOT_ATTEMPTED,
    UNCHECKABLE,
    UNFINISHED,
)
from minilora.exercises.notebook import check
from minilora.exercises.question import BEGIN, END, EXAMPLE_STUDENT, judge_answers, whose_answers
from minilora.exercises.question_parts import Artifact, Choice, Number, Prose
from minilora.exercises.questions.run_a_finetune import _shipped_as
from minilora.exercises.records import load
from minilora.exercises.registry import QUESTIONS, get
from minilora.memory import plan_memory
from minilora.memory.catalog import MODELS
from tests.helpers import small_gpt

STUDENTS = [f"student {number}" for number in range(60)]
ON_PAPER = [question for question in QUESTIONS if question.observe is None]
RUN = get("run-a-finetune")
RUNNER = "student 3"  # who trains in these tests

each = pytest.mark.parametrize("question", QUESTIONS, ids=lambda q: q.name)
each_on_paper = pytest.mark.parametrize("question", ON_PAPER, ids=lambda q: q.name)


@pytest.fixture(autouse=True)
def own_progress(tmp_path, monkeypatch):
    monkeypatch.setenv("MINILORA_HOME", str(tmp_path / "home"))


def parts_of(kind, questions=QUESTIONS):
    return [(question, part) for question in questions for part in question.parts if isinstance(part, kind)]


def judgeable(question, student):
    """(part, numbers) of all that needs no folder."""
    return [(p, question.numbers(student)) for p in question.parts if not isinstance(p, Artifact)]


def items(result):
    return {item.key: item for item in result.items}


def answers_of(source):
    space = {}
    exec(source, space)
    return space["answers"]


# -- right, wrong, empty -------------------------------------------------------------------------------------


@each
def test_the_untouched_answers_are_not_attempted(question):
    result = judge_answers(question, answers_of(question.stub_source()))
    assert (result.outcome, result.earned) == (NOT_ATTEMPTED, 0)
    named = answers_of(question.stub_source()) | {"student": "ada"}
    assert judge_answers(question, named).outcome == NOT_ATTEMPTED


@each_on_paper
def test_the_solution_is_correct_for_every_student(question):
    for student in STUDENTS:
        result = judge_answers(question, question.solved(student))
        assert result.outcome == CORRECT, (student, result)
        assert result.earned == result.points == question.points
        assert question.explanation in result.after
    shown = answers_of(question.solution_source("ada"))
    assert {k: v for k, v in shown.items() if k != "student"} == {
        k: v for k, v in question.solved("ada").items() if k != "student"
    }
    assert answers_of(question.marked_source()) == question.solved()


@each
def test_each_wrong_answer_is_rejected_with_its_own_sentence(question):
    for student in STUDENTS:
        for part, mine in judgeable(question, student):
            for mistake, answer, sentence in part.wrong(mine):
                item = part.judge(answer, mine)
                assert (item.outcome, item.mistake, item.sentence) == (INCORRECT, mistake, sentence), (
                    student,
                    part.key,
                )


@each_on_paper
def test_one_wrong_part_costs_that_part_alone(question):
    right = question.solved("ada")
    for part, mine in judgeable(question, "ada"):
        for mistake, answer, _ in part.wrong(mine):
            result = judge_answers(question, right | {part.key: answer})
            assert result.outcome == INCORRECT
            assert result.earned == question.points - part.points
            assert [item.mistake for item in result.items if item.mistake] == [mistake]
            assert question.explanation not in result.after


@each_on_paper
def test_right_answers_written_otherwise_pass(question):
    def otherwise(part, value):
        if isinstance(part, Choice):
            return [value.upper(), f" ({value}) "]
        if isinstance(part, Number):
            return [float(value), value * (1 + 1e-15) if part.digits else value]
        return [value + "\n", value.upper()]

    right = question.solved("ada")
    tried = 0
    for part in question.parts:
        for value in otherwise(part, right[part.key]):
            result = judge_answers(question, right | {"student": " Ada ", part.key: value})
            assert result.outcome == CORRECT, (part.key, value, result)
            tried += 1
    assert tried >= 10


def test_exact_values_and_three_digits_both_pass():
    for question, part in parts_of(Number):
        mine = question.numbers("ada")
        exact = part.right(mine)
        if part.digits is None:
            assert part.judge(exact + 1, mine).outcome == INCORRECT
        else:
            assert part.judge(exact, mine).outcome == CORRECT
            assert (
                part.judge(exact * 1.00004, mine).outcome == CORRECT
            )  # half a unit of the fifth digit: 0.005 %
            assert part.judge(exact * 1.00006, mine).outcome == INCORRECT
            assert part.judge(exact * 1.004, mine).mistake == "too-few-digits"
            assert part.judge(exact * 1000, mine).mistake == "unit" or part.wrong(mine)


def test_some_parts_answered_is_unfinished_not_wrong():
    question = ON_PAPER[0]
    right = question.solved("ada")
    first = question.parts[0].key
    result = judge_answers(question, {"student": "ada", first: right[first]})
    assert result.outcome == UNFINISHED
    assert result.earned == question.parts[0].points
    assert {item.outcome for item in result.items} == {CORRECT, NOT_ATTEMPTED}
    assert "◐" in repr(result)
    assert "unfinished" in result._repr_html_()


STRANGE = [None, 7, [1], "answers", lambda: 0, {1: 2}, {"student": object()}]


@pytest.mark.parametrize("answers", STRANGE, ids=lambda a: type(a).__name__)
def test_what_is_no_dict_of_plain_answers_cannot_be_checked(answers):
    result = judge_answers(ON_PAPER[0], answers)
    assert result.outcome == UNCHECKABLE
    assert result.sentence


@each_on_paper
@pytest.mark.parametrize(
    "value", [True, [1], {"a": 1}, "x" * 5, -1, 10**400, float("nan"), float("inf"), "⅔"]
)
def test_strange_values_are_wrong_and_never_an_error(question, value):
    right = question.solved("ada")
    for part in question.parts:
        item = items(judge_answers(question, right | {part.key: value}))[part.key]
        assert item.outcome in (INCORRECT, NOT_ATTEMPTED)
        assert item.sentence


def test_an_unknown_name_is_mentioned():
    question = ON_PAPER[0]
    result = judge_answers(question, question.solved("ada") | {"trianed": 4})
    assert "trianed" in result.note


def test_numbers_belong_to_the_student():
    question = get("full-against-lora")
    different = {json.dumps(question.numbers(student)) for student in STUDENTS}
    assert len(different) > 8
    result = judge_answers(question, question.solved("ada"), student="grace")
    assert result.outcome == UNCHECKABLE
    assert "'ada'" in result.sentence
    assert judge_answers(question, question.solved("Ada "), student="ada").outcome == CORRECT
    assert judge_answers(question, question.solved("ada") | {"student": ""}).outcome == UNCHECKABLE


PINNED = {
    "what-lora-changes": {"in_features": 1024, "out_features": 4096, "r": 4},
    "swappable-adapters": {"base_gigabytes": 14.0, "adapter_megabytes": 336, "tasks": 5},
}


def test_numbers_are_the_same_on_every_machine():
    """Drawn once and written down: a learner's machine and a grader's must agree for years."""
    command = "from minilora.exercises.registry import get; print(get('swappable-adapters').numbers('Ada'))"
    done = subprocess.run([sys.executable, "-c", command], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == str(get("swappable-adapters").numbers("ada"))
    assert get("what-lora-changes").numbers("ada") == PINNED["what-lora-changes"]
    assert get("swappable-adapters").numbers("ada") == PINNED["swappable-adapters"]


# -- the numbers, against what was not written for them -----------------------------------------------------


def part(name, key):
    return next(part for part in get(name).parts if part.key == key)


def test_counts_are_those_of_the_engine():
    for student in STUDENTS[:8]:
        mine = get("what-lora-changes").numbers(student)
        with torch.device("meta"):
            layer = nn.Sequential(nn.Linear(mine["in_features"], mine["out_features"], bias=False))
            count = add_lora(layer, LoraConfig(r=mine["r"], target_modules=["0"])).trainable_parameter_count()
        assert part("what-lora-changes", "trained").right(mine) == count


FIXED_PARTS = ("weights", "adapters", "gradients", "optimizer")


def test_memory_and_sizes_are_the_planner_s():
    """The planner was held against measured steps. Of its parts, those count that do not depend on the batch."""

    def gigabytes(plan):
        return sum(plan.parts[name].largest for name in FIXED_PARTS if name in plan.parts) / 1e9

    for student in STUDENTS[:20]:
        mine = get("full-against-lora").numbers(student)
        lora = plan_memory(mine["model"], "lora", r=mine["r"], target_modules=["q_proj", "v_proj"])
        full = plan_memory(mine["model"], "full", dtype="fp32")
        right = {p.key: p.right(mine) for p in get("full-against-lora").parts if isinstance(p, Number)}
        assert right["trained"] == lora.trained
        assert right["adapter-megabytes"] == lora.file_bytes / 1e6
        assert right["full-gigabytes"] == pytest.approx(gigabytes(full), rel=1e-12)
        assert right["lora-gigabytes"] == pytest.approx(gigabytes(lora), rel=1e-12)


def test_bits_are_those_of_the_quantizer():
    for student in STUDENTS[:20]:
        mine = get("quantization-and-qlora").numbers(student)
        stored = quantize_4bit(torch.randn(1024, 128), block_size=mine["block_size"])
        assert part("quantization-and-qlora", "bits-per-weight").right(mine) == stored.bits_per_weight


def test_the_largest_error_is_that_of_rounding():
    mine = get("quantization-and-qlora").numbers("ada")
    values = torch.linspace(-mine["absmax"], mine["absmax"], 16, dtype=torch.float64)
    x = torch.linspace(-mine["absmax"], mine["absmax"], 100_001, dtype=torch.float64)
    error = (x[:, None] - values).abs().min(dim=1).values.max().item()
    assert part("quantization-and-qlora", "largest-error").right(mine) == pytest.approx(error, rel=1e-3)


def test_proposed_run_has_the_counts_of_the_engine():
    mine = RUN.numbers("ada")
    model = add_lora(GPT.from_pretrained("tiny-gpt"), LoraConfig(r=mine["r"], target_modules="attention"))
    count = model.trainable_parameter_count()
    assert (mine["expected_trained"], mine["expected_total"]) == (count, count.total)
    assert MODELS["tiny-gpt"].parameter_count == count.total - count


# -- what a learner reads ------------------------------------------------------------------------------------


@each
def test_everything_that_a_learner_reads_is_there(question):
    assert len(question.statement) > 100
    assert len(question.explanation) > 60
    assert question.pitfalls
    assert 5 <= question.minutes <= 30
    assert len(question.hints) == 3
    assert all(len(hint) > 30 for hint in question.hints)
    assert set(question.given) <= set(question.numbers("ada"))
    assert len(question.prose) >= 2
    assert sum(isinstance(p, Number) for p in question.parts) >= 2
    keys = [p.key for p in question.parts]
    assert len(set(keys)) == len(keys)
    assert BEGIN in question.marked_source()
    assert END in question.marked_source()


@each
def test_hints_come_before_answers(question):
    for part, mine in judgeable(question, "ada"):
        if isinstance(part, Number):
            assert str(part.solution(mine)) not in question.hints[0].split()
        if isinstance(part, Choice):
            right = dict(part.lettered())[part.letter].text
            assert all(right not in hint for hint in question.hints)


def test_choices_are_fair():
    letters = []
    for _, choice in parts_of(Choice):
        wrong = [option for option in choice.options if option.mistake]
        assert len(wrong) == len(choice.options) - 1 >= 2
        assert all(option.sentence for option in wrong)
        assert len({option.mistake for option in wrong}) == len(wrong)
        letters.append(choice.letter)
    assert max(letters.count(letter) for letter in "abcd") < len(letters) / 2, (
        "the right letter is not always the same"
    )


def test_longest_option_is_not_always_the_right_one():
    choices = [choice for _, choice in parts_of(Choice)]
    longest = sum(max(c.options, key=lambda o: len(o.text)).mistake == "" for c in choices)
    assert longest < 0.6 * len(choices)


def test_rubrics_and_model_answers():
    for _, text in parts_of(Prose):
        assert len(text.rubric) >= 3
        assert text.judge(text.model_answer, {}).outcome == KEPT
        assert text.judge("too short", {}).outcome == NOT_ATTEMPTED


def test_there_are_enough():
    assert len(QUESTIONS) == 6
    assert (
        sum(len(part.wrong(question.numbers("ada"))) for question in QUESTIONS for part in question.parts)
        >= 80
    )


# -- prediction, experiment, texts ---------------------------------------------------------------------------


@each
def test_no_experiment_without_a_prediction(question, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert "predict first" in repr(experiment(question.name))
    assert "what do you expect" in repr(expect(question.name))
    assert "what do you expect" in repr(expect(question.name, "q"))
    assert load().get(question.name, {}).get("prediction") is None
    for letter in "AB":
        assert "You can change it until" in repr(expect(question.name, letter))
        assert load()[question.name]["prediction"] == letter.lower()


@pytest.mark.parametrize("question", ON_PAPER, ids=lambda q: q.name)
def test_experiments_come_out_as_the_model_answer_says(question):
    observed = question.prediction.experiment(question.numbers("ada"))
    assert observed.letter == question.prediction.comes_true
    assert any(character.isdigit() for character in observed.sentence)
    expect(question.name, "a")
    shown = repr(experiment(question.name))
    expected = "As you predicted" if question.prediction.comes_true == "a" else "The result is different"
    assert expected in shown
    assert load()[question.name]["observed"] == observed.letter
    assert "stays" in repr(expect(question.name, "b"))
    assert load()[question.name]["prediction"] == "a"


def test_texts_are_kept_and_shown_beside_the_model_answer():
    question = get("what-lora-changes")
    mine = "A ship keeps its hull, and only the small rudder is turned until the course is right."
    result = check(question.name, {"student": "ada", "analogy": mine})
    assert result.outcome == UNFINISHED
    assert load()[question.name]["texts"] == {"analogy": mine}
    model_answer = next(text for text in question.prose if text.key == "analogy").model_answer
    assert result.after.index(mine) < result.after.index(model_answer)
    rate(question.name, "analogy", [True, False, True, True])
    assert load()[question.name]["ratings"] == {"analogy": [True, False, True, True]}
    assert "1 of 2, 1 rated" in repr(progress())
    with pytest.raises(ValueError, match="4 things to look for"):
        rate(question.name, "analogy", [True])
    with pytest.raises(ValueError, match="'analogy' and 'gap'"):
        rate(question.name, "analgy", [True])


def test_model_answers_do_not_show_before_a_text_is_written():
    question = get("what-lora-changes")
    answers = question.solved("ada") | dict.fromkeys((text.key for text in question.prose), "")
    shown = repr(judge_answers(question, answers))
    for text in question.prose:
        assert text.model_answer[:40] not in shown


def test_numbers_remember_who_asks():
    assert "your name" in repr(numbers("what-lora-changes"))
    assert numbers("what-lora-changes", student="Ada") == get("what-lora-changes").numbers("ada")
    assert "numbers of Ada" in repr(numbers("what-lora-changes"))
    assert (
        "numbers of Ada" in numbers("full-against-lora")._repr_html_()
    )  # who it is holds for the next question too
    assert '"student": "Ada"' in repr(solution("what-lora-changes", insist=True))
    with pytest.raises(ValueError, match="a function to write"):
        numbers("merge")


def test_progress_page_counts_questions_and_functions():
    question = get("full-or-lora")
    assert "0 of" in repr(progress())
    check(question.name, question.solved("ada") | {"stuck": "a"})
    shown = repr(progress())
    assert "✗ not right yet" in shown
    check(question.name, question.solved("ada"))
    shown = repr(progress())
    assert f"Your progress: {question.points} of" in shown
    assert "✓ done" in shown
    record = load()[question.name]
    assert record["mistakes"] == {"too-soon": 1}
    assert record["attempts"] == 2
    check(question.name, question.solved("ada") | {"stuck": "a"})  # what is solved stays solved
    assert f"Your progress: {question.points} of" in repr(progress())
    assert question.title in progress()._repr_html_()


def test_full_points_without_the_texts_are_no_mistake():
    question = get("full-or-lora")
    answers = question.solved("ada")
    check(question.name, {key: value for key, value in answers.items() if key not in ("when", "gap")})
    line = next(line for line in repr(progress()).split("\n") if f"({question.name})" in line)
    assert line.startswith("✓ all points; texts missing")
    check(question.name, answers | {"stuck": None})  # what was earned once stays earned
    line = next(line for line in repr(progress()).split("\n") if f"({question.name})" in line)
    assert "✗" not in line
    check("what-lora-changes", {"student": "ada", "fresh-adapter": "a"})
    assert "◐ begun" in repr(progress())


# -- the run, from its folder --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory):
    """The solution's own program, run as a learner runs it."""
    folder = tmp_path_factory.mktemp("run")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("MINILORA_HOME", str(folder))
        numbers("run-a-finetune", student=RUNNER)
        RUN.program()
        expect("run-a-finetune", "c")
        assert "As you predicted" in repr(experiment("run-a-finetune"))
    return folder / "my-run"


def judge_run(folder, **changes):
    return judge_answers(RUN, RUN.solved(RUNNER) | {"folder": str(folder)} | changes)


def adapter(r=None, targets="attention", fill=0.0, base=None):
    model = add_lora(
        base or GPT.from_pretrained("tiny-gpt"),
        LoraConfig(r=r or RUN.numbers(RUNNER)["r"], target_modules=targets),
    )
    if fill:
        torch.manual_seed(0)
        with torch.no_grad():
            for layer in model.lora_layers().values():
                layer.lora_B["default"].copy_(fill * torch.randn(layer.lora_B["default"].shape))
    return model


def save(model, folder):
    model.save_adapter(folder)
    return folder


def run_mistake(folder, **changes):
    found = items(judge_run(folder, **changes))["folder"]
    assert found.outcome == INCORRECT
    assert len(found.sentence) > 30
    return found.mistake


@pytest.mark.slow
def test_a_real_run_is_correct(run_folder):
    result = judge_run(run_folder)
    assert result.outcome == CORRECT, result
    assert result.earned == RUN.points
    assert "lowers the loss" in items(result)["folder"].sentence


def test_counts_are_those_of_the_folder_not_of_the_proposal(tmp_path):
    folder = save(adapter(targets=["q_proj"], fill=0.02), tmp_path / "my-run")
    found = items(judge_run(folder, trained=1))
    model = adapter(targets=["q_proj"])
    count = model.trainable_parameter_count()
    assert items(judge_run(folder, trained=int(count), total=count.total))["trained"].outcome == CORRECT
    assert items(judge_run(folder, trained=int(count), total=count.total))["total"].outcome == CORRECT
    assert found["trained"].outcome == found["total"].outcome == INCORRECT


@pytest.mark.slow
def test_wrong_counts_of_a_real_run_have_their_sentences(run_folder):
    mine = RUN.numbers(RUNNER)
    seen = mine | RUN.observe({"folder": str(run_folder), "base": "tiny-gpt"}, mine)
    for part in RUN.parts:
        for mistake, answer, sentence in part.wrong(seen):
            item = part.judge(answer, seen)
            assert (item.outcome, item.mistake, item.sentence) == (INCORRECT, mistake, sentence)
    assert seen["trained"] == mine["expected_trained"]


@pytest.mark.slow
def test_each_bad_folder_is_named(tmp_path, run_folder):
    mine = RUN.numbers(RUNNER)
    assert run_mistake(tmp_path / "nowhere") == "no-folder"
    GPT.from_pretrained("tiny-gpt").save_pretrained(tmp_path / "whole")
    assert run_mistake(tmp_path / "whole") == "whole-model"
    assert run_mistake(run_folder, base=str(tmp_path / "no-such-base")) == "no-base"
    assert run_mistake(run_folder, base="some/model") == "no-base"  # without asking a hub
    assert run_mistake(run_folder, base=7) == "no-base"
    assert run_mistake(save(adapter(), tmp_path / "fresh")) == "untrained"
    assert run_mistake(save(adapter(r=mine["r"] + 1, fill=0.01), tmp_path / "rank")) == "another-rank"
    assert run_mistake(save(adapter(fill=1.0), tmp_path / "noise")) == "worse"
    assert run_mistake(save(adapter(fill=math.nan), tmp_path / "nan")) == "not-finite"


ADAPTERS = Path(minilora.__file__).parent / "assets" / "adapters"


@pytest.mark.parametrize("change", ["as it is", "scaled", "cut", "mixed", "with a little noise"])
def test_adapters_that_ship_are_no_run(tmp_path, change):
    """Also where one is cut to the rank that is asked for, or disguised a little."""
    mine = RUN.numbers(RUNNER)
    model = LoraModel(GPT.from_pretrained("tiny-gpt"))
    model.load_adapter(ADAPTERS / mine["style"], "default")
    r = mine["r"] if change == "cut" else model.peft_config["default"].r
    targets = sorted({name.rpartition(".")[2] for name in model.lora_layers()})
    copy = add_lora(
        GPT.from_pretrained("tiny-gpt"), LoraConfig(r=r, lora_alpha=2 * r, target_modules=targets)
    )
    torch.manual_seed(0)
    with torch.no_grad():
        for name, layer in copy.lora_layers().items():
            theirs = model.lora_layers()[name]
            A, B = theirs.lora_A["default"], theirs.lora_B["default"]
            if change in ("cut", "mixed"):
                U, S, V = torch.linalg.svd(B @ A, full_matrices=False)
                A, B = V[:r], U[:, :r] * S[:r]
            factor = 0.7 if change == "scaled" else 1.0
            noise = 0.1 if change == "with a little noise" else 0.0
            layer.lora_A["default"].copy_(A + noise * A.std() * torch.randn_like(A))
            layer.lora_B["default"].copy_(factor * B + noise * B.std() * torch.randn_like(B))
    assert _shipped_as(copy) == mine["style"]
    if r == mine["r"]:
        assert run_mistake(save(copy, tmp_path / "theirs")) == "shipped"


def test_published_answers_and_those_of_others_are_told_apart():
    assert whose_answers(" Ada ", "ada") == (True, "")
    assert whose_answers("", "ada") == (True, "")
    assert whose_answers(None, "ada") == (True, "")
    counts, remark = whose_answers("grace", "ada")  # an id, or another spelling: a person decides
    assert counts
    assert "'grace'" in remark
    counts, remark = whose_answers(EXAMPLE_STUDENT.upper(), "ada")
    assert not counts
    assert "published" in remark
    assert whose_answers(EXAMPLE_STUDENT, EXAMPLE_STUDENT) == (True, "")


def test_a_little_training_is_too_little(tmp_path):
    model = adapter()
    data = encode_text(
        style_corpus(RUN.numbers(RUNNER)["style"], documents=8), model.tokenizer, sequence_length=64
    )
    Trainer(model, data, max_steps=3, batch_size=4, learning_rate=1e-3, progress=False).train()
    assert run_mistake(save(model, tmp_path / "short")) == "too-little"


@pytest.mark.slow
def test_a_truncated_file_and_another_base_are_named(tmp_path, run_folder):
    cut = tmp_path / "cut"
    cut.mkdir()
    for file in run_folder.iterdir():
        (cut / file.name).write_bytes(file.read_bytes()[:2000])
    assert run_mistake(cut) == "unreadable"
    base = GPT.from_pretrained("tiny-gpt")
    with torch.no_grad():
        base.model.norm.weight.mul_(1.5)
    assert run_mistake(save(adapter(base=base, fill=0.01), tmp_path / "other")) == "another-base"


def test_another_base_in_a_folder_may_be_used(tmp_path):
    """As a larger model would be: here a small random one, in a checkpoint folder."""
    base = small_gpt(vocab_size=3072, max_position_embeddings=128)
    base.tokenizer = GPT.from_pretrained("tiny-gpt").tokenizer
    base.save_pretrained(tmp_path / "base")
    style, r = RUN.numbers(RUNNER)["style"], RUN.numbers(RUNNER)["r"]
    model = add_lora(GPT.from_pretrained(tmp_path / "base"), LoraConfig(r=r, target_modules="all-linear"))
    data = encode_text(style_corpus(style, documents=20), model.tokenizer, sequence_length=64)
    Trainer(model, data, max_steps=60, batch_size=16, learning_rate=3e-2, progress=False).train()
    model.save_adapter(tmp_path / "my-run")
    count = model.trainable_parameter_count()
    percent = 100 * count / count.total
    result = judge_run(
        tmp_path / "my-run",
        base=str(tmp_path / "base"),
        trained=int(count),
        total=count.total,
        percent=percent,
    )
    assert result.outcome == CORRECT, result
