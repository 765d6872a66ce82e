"""What of a model is trained, told by module object and never by a piece of a name."""

from dataclasses import dataclass

from torch import nn


@dataclass(frozen=True)
class TrainedPart:
    """Modules that are trained alike.

    Attributes:
        name: for reports.
        modules: whose trainable parameters belong to the part.
        kind: ``side``, ``neck``, ``tower`` or ``heads``.
        depth: tower layers between the part and the tower's output, for layer-wise learning-rate decay.
    """

    name: str
    modules: tuple[nn.Module, ...]
    kind: str
    depth: int = 0
