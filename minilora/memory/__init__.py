"""What training takes in memory: published shapes of models, a plan by arithmetic, and a measurement.

To read: catalog.py, plan.py, activations.py; measure.py when you doubt a plan. Only a measurement needs torch.
"""

from minilora.memory.catalog import DEVICES, MODELS, Device, ModelShape, model_shape
from minilora.memory.measure import MeasuredMemory, measure_memory
from minilora.memory.plan import DTYPES, METHODS, OPTIMIZERS, MemoryPlan, Part, gigabytes, plan_memory

__all__ = [
    "DEVICES",
    "DTYPES",
    "METHODS",
    "MODELS",
    "OPTIMIZERS",
    "Device",
    "MeasuredMemory",
    "MemoryPlan",
    "ModelShape",
    "Part",
    "gigabytes",
    "measure_memory",
    "model_shape",
    "plan_memory",
]
