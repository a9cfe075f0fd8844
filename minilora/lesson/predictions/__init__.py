"""The predictions of all pages by their ids; each page has a file."""

from minilora.lesson.prediction import Prediction
from minilora.lesson.predictions import (
    page_00,
    page_01,
    page_02,
    page_03,
    page_04,
    page_05,
    page_06,
    page_07,
    page_08,
    page_09,
)

PAGES = (page_00, page_01, page_02, page_03, page_04, page_05, page_06, page_07, page_08, page_09)
PREDICTIONS: dict[str, Prediction] = {id: asked for page in PAGES for id, asked in page.PREDICTIONS.items()}
