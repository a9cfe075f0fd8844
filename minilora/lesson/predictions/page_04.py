"""The predictions of page 04. Not here: the measurements, which the page takes."""

from minilora.lesson.prediction import Prediction

PREDICTIONS: dict[str, Prediction] = {}
