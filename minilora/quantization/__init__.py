"""4-bit quantization: the codes, packing and double quantization, a linear layer on packed weights, whole models.

To read: codes.py, blockwise.py (the algorithm), linear4bit.py (a layer that trains through packed weights), model.py
(all layers of a model); then, for speed and for files, cpu.py and bnb_format.py.
"""

from typing import TYPE_CHECKING

from minilora._lazy import lazy_names

if TYPE_CHECKING:
    from minilora.quantization.blockwise import Quantized4bit as Quantized4bit
    from minilora.quantization.blockwise import quantize_4bit as quantize_4bit
    from minilora.quantization.codes import BLOCK_SIZES as BLOCK_SIZES
    from minilora.quantization.codes import CODES as CODES
    from minilora.quantization.linear4bit import Linear4bit as Linear4bit
    from minilora.quantization.model import QuantizationReport as QuantizationReport
    from minilora.quantization.model import quantize_model as quantize_model

__getattr__, __dir__, __all__ = lazy_names(
    __name__,
    {
        "blockwise": ["Quantized4bit", "quantize_4bit"],
        "codes": ["BLOCK_SIZES", "CODES"],
        "linear4bit": ["Linear4bit"],
        "model": ["QuantizationReport", "quantize_model"],
    },
)
