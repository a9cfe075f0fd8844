"""The tasks of page 09 whose limit is the rank: what an adapter learns follows from its rank, not from time or luck."""

import pytest

from minilora.figures import walls
from minilora.files import ASSETS
from minilora.lesson.stories import PASSAGE, held_out_story
from minilora.lesson.walls import learn_change, memorize_pairs


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize(("change_rank", "r"), [(4, 2), (4, 4), (16, 4)])
def test_an_adapter_learns_as_many_patterns_as_its_rank(change_rank, r, seed):
    """By Eckart and Young the best of rank r leaves 1 - r/k of k equally strong patterns; 2% for the steps."""
    assert learn_change(change_rank, r, steps=100, seed=seed) == pytest.approx(
        min(1, r / change_rank), abs=0.02
    )


def test_more_steps_move_no_wall():
    assert learn_change(8, 2, steps=400) == pytest.approx(learn_change(8, 2, steps=100), abs=0.01)


def test_only_full_fine_tuning_makes_the_largest_change():
    assert learn_change(64, "full", steps=100) > 0.98
    assert learn_change(64, 16, steps=100) < 0.26


def test_pairs_need_rank():
    few, many = memorize_pairs(256, 1, steps=60), memorize_pairs(16, 16, steps=60)
    assert few < 0.1
    assert many == 1


def test_the_picture_names_the_lowest_rank_that_learned_each_task():
    tasks = {
        "easy": {1: 1.0, 4: 1.0, "full": 1.0},
        "hard": {1: 0.1, 4: 0.99, "full": 1.0},
        "no": {1: 0, 4: 0, "full": 0.5},
    }
    picture, sentence = walls.draw(tasks)
    assert sentence == "Learned completely: easy from rank 1 on; hard only by full fine-tuning; no by none."
    assert picture.count(">100%<") == 4


def test_the_story_comes_in_passages_that_lose_nothing():
    passages = held_out_story()
    whole = (ASSETS / "held_out_story.txt").read_text(encoding="utf-8")
    assert len(passages) > 2
    assert all(0 < len(passage) <= PASSAGE for passage in passages)
    assert "\n\n".join(passages) == whole.strip()
