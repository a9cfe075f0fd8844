"""The predictions of page 02. Not here: the measurements, which the page takes."""

from minilora.lesson.prediction import Prediction

PREDICTIONS: dict[str, Prediction] = {}
