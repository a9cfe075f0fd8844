"""The dashboard's picture: labeled axes with round numbers, and every point within them."""

from xml.etree import ElementTree

import pytest

from minilora.figures import dashboard


@pytest.mark.parametrize(
    ("losses", "validation"),
    [
        ([4.84, 3.1, 2.07], [(0, 4.9), (3, 1.98)]),
        ([3.0], []),
        ([2.5] * 4, [(2, 2.5)]),
        ([0.012, 0.004], []),
        ([900.0, 4.0], [(1, 30.0)]),
    ],
)
def test_axes_are_labeled_and_hold_all_points(losses, validation):
    picture, sentence = dashboard.draw(10, losses, validation, 100.0, 3.0, "Sample: The cat.", "training")
    tree = ElementTree.fromstring(picture)
    words = ["".join(node.itertext()) for node in tree.iter() if node.tag.endswith("text")]
    assert {"step", "loss (nats per token)", "0", "5", "10", "each step", "running average"} <= set(words)
    assert ("held-out text" in words) == bool(validation)
    assert "training" in sentence.lower()
    _, y, ticks = dashboard._scales(10, losses, validation)
    for loss in [*losses, *(loss for _, loss in validation)]:
        assert dashboard.TOP <= y(loss) <= dashboard.BOTTOM
    assert 2 <= len(ticks) <= 7
    assert all(f"{tick:g}" in words for tick in ticks)
