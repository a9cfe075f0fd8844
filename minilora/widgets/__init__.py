"""The explorables: controls, a picture that follows each key press, and a sentence that says what it shows.

from minilora.widgets import quantization_explorer

explorer = quantization_explorer()  # the last line of a cell shows it
explorer.outlier.value = 16  # as if moved by hand
explorer.sentence  # what the picture shows now
"""

from minilora.widgets.adapters import AdapterSwitcher as adapter_switcher
from minilora.widgets.anatomy import LoraAnatomy as lora_anatomy
from minilora.widgets.dashboard import TrainingDashboard as training_dashboard
from minilora.widgets.memory import MemoryExplorer as memory_explorer
from minilora.widgets.methods import MethodChooser as method_chooser
from minilora.widgets.parameters import ParameterExplorer as parameter_explorer
from minilora.widgets.patterns import PatternBuilder as pattern_builder
from minilora.widgets.quantization import QuantizationExplorer as quantization_explorer
from minilora.widgets.ranks import RankExplorer as rank_explorer

__all__ = [
    "adapter_switcher",
    "lora_anatomy",
    "memory_explorer",
    "method_chooser",
    "parameter_explorer",
    "pattern_builder",
    "quantization_explorer",
    "rank_explorer",
    "training_dashboard",
]
