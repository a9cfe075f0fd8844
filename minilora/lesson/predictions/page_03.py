"""The predictions of page 03. Not here: the measurements, which the page takes."""

from minilora.lesson.prediction import Prediction

PREDICTIONS: dict[str, Prediction] = {}
