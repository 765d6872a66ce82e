"""Parameter-efficient training: what is attached to a frozen tower, so that it learns without being changed."""

from .attach import PEFT, attach_adapters
from .dense_adapter import DenseAdapters, PaperAdapters, ReleasedAdapters
from .gates import gate_statistics, log_gates
from .lora import LoRA
from .merge import export_plain, merge, unmerge
from .methods import METHODS, DenseAdapterMethod, LoRAMethod, PeftMethod, TMoEMethod, build_peft, peft_keys
from .tmoe import TMoE

__all__ = [
    "METHODS",
    "PEFT",
    "DenseAdapterMethod",
    "DenseAdapters",
    "LoRA",
    "LoRAMethod",
    "PaperAdapters",
    "PeftMethod",
    "ReleasedAdapters",
    "TMoE",
    "TMoEMethod",
    "attach_adapters",
    "build_peft",
    "export_plain",
    "gate_statistics",
    "log_gates",
    "merge",
    "peft_keys",
    "unmerge",
]
