"""The tensors that a tower was loaded with, distinguished by identity, not by name, from what is attached later."""

import hashlib
from collections.abc import Iterable, Iterator

import torch
from torch import Tensor, nn

__all__ = ["BaseTensors"]


class BaseTensors:
    """Parameters and buffers of a trunk, recorded where they lie.

    A record is the module that holds a tensor and its name there, so that it stays right when the module is wrapped
    or moved, or its tensors are replaced.

    Args:
        trunk: as it was loaded; what its state dict holds counts.
        unused: modules of it that take no part in the features.
    """

    def __init__(self, trunk: nn.Module, unused: Iterable[nn.Module]):
        left = {id(parameter) for module in unused for parameter in module.parameters()}
        self._records: list[tuple[str, nn.Module, str]] = []
        self._used: list[tuple[nn.Module, str]] = []
        for name, tensor in trunk.state_dict(keep_vars=True).items():
            path, _, local = name.rpartition(".")
            owner = trunk.get_submodule(path)
            self._records.append((name, owner, local))
            if isinstance(tensor, nn.Parameter) and id(tensor) not in left:
                self._used.append((owner, local))

    def items(self) -> Iterator[tuple[str, Tensor]]:
        """Each tensor, under the name that it had when it was loaded."""
        for name, owner, local in self._records:
            yield name, getattr(owner, local)

    def used(self) -> Iterator[nn.Parameter]:
        """The parameters that features depend on."""
        for owner, local in self._used:
            yield owner._parameters[local]

    def set_trained(self, mode: bool) -> None:
        """Let the parameters that features depend on train, or none at all."""
        for _, tensor in self.items():
            tensor.requires_grad = False
        for parameter in self.used():
            parameter.requires_grad = mode

    def set_used(self, *, more: Iterable[nn.Parameter] = (), less: Iterable[nn.Parameter] = ()) -> None:
        """Take further parameters as ones that features depend on, or some as ones that they do not.

        For models that use the tower in another way than for its taps. What is no longer used does not train.
        """
        mode = self.any_trains
        used = ({id(p) for p in self.used()} | {id(p) for p in more}) - {id(p) for p in less}
        self._used = [(owner, local) for _, owner, local in self._records if id(getattr(owner, local)) in used]
        self.set_trained(mode)

    @property
    def any_trains(self) -> bool:
        return any(parameter.requires_grad for parameter in self.used())

    @property
    def all_train(self) -> bool:
        """Whether everything that features depend on trains: then nothing is left of where it started."""
        return all(parameter.requires_grad for parameter in self.used())

    def left_out(self) -> list[Tensor]:
        """Those that a checkpoint does without, because the tower's weights file has them.

        A tower that trains as a whole is stored as a whole.
        """
        return [] if self.all_train else [tensor for _, tensor in self.items() if not tensor.requires_grad]

    def hash(self) -> str:
        """SHA-256 over names, shapes and values, in hex."""
        digest = hashlib.sha256()
        for name, tensor in sorted(self.items(), key=lambda item: item[0]):
            digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype} ".encode())
            digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy())
        return digest.hexdigest()
