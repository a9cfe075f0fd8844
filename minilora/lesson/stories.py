"""A story that tiny-gpt has never read, to measure what it still knows of stories after a fine-tuning.

Not here: the stories that it was pretrained on, which are not part of the package (see its model card).
"""

from __future__ import annotations

from minilora.files import ASSETS

PASSAGE = 1_500  # bytes, about as long as the passages of the pretraining


def held_out_story() -> list[str]:
    """A story written for this course, in the manner of the old books, in passages of a few paragraphs each.

    >>> held_out_story()[0][:47]
    'Old Mrs. Tibbet lived in the last house on the '
    """
    passages = [""]
    for paragraph in (ASSETS / "held_out_story.txt").read_text(encoding="utf-8").strip().split("\n\n"):
        if len(passages[-1]) + len(paragraph) > PASSAGE:
            passages.append("")
        passages[-1] += ("\n\n" if passages[-1] else "") + paragraph
    return passages
