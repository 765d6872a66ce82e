"""Bytes that autograd saves in a training step, by part."""

from collections import Counter
from collections.abc import Iterator

import torch
from detectron2.structures import Boxes, Instances
from detectron2.utils.events import EventStorage
from torch import Tensor, nn

from .parameters import model_parts

__all__ = ["count_saved_bytes", "dummy_batch"]


def dummy_batch(images: int, size: tuple[int, int], *, objects: int = 8, seed: int = 0) -> list[dict]:
    """Training inputs of noise: two views of each image with the same boxes.

    Args:
        images: how many.
        size: (height, width) in pixels.
        objects: boxes per image.
        seed: of pixels and boxes.
    """
    generator = torch.Generator().manual_seed(seed)
    height, width = size

    def view() -> dict:
        corners = torch.rand(objects, 2, generator=generator) * 0.7
        boxes = torch.cat([corners, corners + 0.1 + 0.2 * torch.rand(objects, 2, generator=generator)], dim=1)
        instances = Instances(size)
        instances.gt_boxes = Boxes(boxes * torch.tensor([width, height, width, height]))
        instances.gt_classes = torch.zeros(objects, dtype=torch.int64)
        instances.gt_ids = torch.arange(objects)
        pixels = torch.randint(0, 256, (3, height, width), generator=generator, dtype=torch.uint8)
        return {"image": pixels, "instances": instances, "height": height, "width": width}

    return [{**view(), "reference": view()} for _ in range(images)]


def count_saved_bytes(model: nn.Module, batch: list[dict] | Tensor) -> dict[str, int]:
    """Run the forward pass of a training step and count what its graph holds.

    Parameters and buffers are not counted, and a tensor that several operations keep counts once, for the part that
    kept it first.

    Args:
        model: a meta-architecture in training mode, or any module, on a device with real tensors.
        batch: its input.

    Returns:
        Bytes by part of ``effowt_d2.analysis.model_parts``; what is kept between the parts of a backbone as
        ``backbone``, the rest (losses of ReID, preprocessing) as ``other``.
    """
    current, saved, seen = ["other"], Counter(), set()
    seen.update(t.untyped_storage().data_ptr() for t in [*model.parameters(), *model.buffers()])

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in seen:
            seen.add(storage.data_ptr())
            saved[current[-1]] += storage.nbytes()
        # not the tensor itself: an operation that keeps its own output would then hold its graph for ever
        return tensor.detach()

    hooks = []
    for name, module in _called(model):
        hooks.append(module.register_forward_pre_hook(lambda *_, name=name: current.append(name)))
        hooks.append(module.register_forward_hook(lambda *_: current.pop() and None))
    try:
        with EventStorage(), torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            # as long as the losses are held, no memory of the graph is used a second time
            losses = model(batch)
        del losses
    finally:
        for hook in hooks:
            hook.remove()
    return dict(saved)


def _called(model: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """The modules whose calls begin and end a part; of lists of modules, which are never called, what is in them."""
    if isinstance(getattr(model, "backbone", None), nn.Module):
        # first, so that its parts are within it
        yield "backbone", model.backbone
    for name, modules in model_parts(model).items():
        yield from ((name, called) for module in modules for called in _members(module))


def _members(module: nn.Module) -> Iterator[nn.Module]:
    if isinstance(module, (nn.ModuleList, nn.ModuleDict)):
        for child in module.children():
            yield from _members(child)
    else:
        yield module
