"""Multiply-adds of the inference on one image, by part.

Each part is run alone, on inputs of its own shape, so that a model on the meta device can be counted, whose boxes have
no values. Counted is what convolutions, linear maps, attention and other matrix products do, also within autograd
functions; fvcore gives the same figures for the same operations, but can't trace on the meta device. RoI pooling, box
decoding, NMS and association are skipped.
"""

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

__all__ = ["count_call", "count_flops", "multiply_adds"]


def count_flops(model: nn.Module, size: tuple[int, int], *, proposals: int, detections: int) -> dict[str, int]:
    """Count one image.

    Args:
        model: an OpenWorldTracker with our backbone, built on the meta device; it is left as it is.
        size: (height, width) in pixels, multiples of 64.
        proposals: boxes per image that go through the cascade.
        detections: boxes per image that are embedded for ReID.

    Returns:
        Multiply-adds by part.

    Raises:
        ValueError: the size is not of multiples of 64, or the model has real weights.
    """
    if size[0] % 64 or size[1] % 64:
        raise ValueError(f"the size must be multiples of 64, got {size[0]} x {size[1]}")
    with _without_values(model) as copied:
        return _count_parts(copied, size, proposals, detections)


def count_call(model: nn.Module, call: Callable[[nn.Module], object]) -> int:
    """Multiply-adds of one call of any model in inference.

    Args:
        model: built on the meta device; it is left as it is.
        call: gets a copy of the model, and calls it with tensors that it makes itself.

    Raises:
        ValueError: the model has real weights.
    """
    with _without_values(model) as copied:
        return multiply_adds(lambda: call(copied))


@contextmanager
def _without_values(model: nn.Module) -> Iterator[nn.Module]:
    """A copy in eval mode whose tensors have no values; within, new tensors have none either."""
    if any(p.device.type != "meta" for p in model.parameters()):
        raise ValueError("FLOPs are counted on a model of the meta device, this one has real weights")
    model = copy.deepcopy(model).eval()
    # the math attention, for torch does not count the CPU's fused one
    with FakeTensorMode(), sdpa_kernel(SDPBackend.MATH), torch.no_grad():
        _report_cpu_device(model)
        yield model


def _report_cpu_device(model: nn.Module) -> None:
    """Fake tensors have no values but report the CPU as device: not all operations support the meta device."""
    for module in model.modules():
        for name, parameter in module._parameters.items():
            if parameter is not None:
                module._parameters[name] = nn.Parameter(torch.empty(parameter.shape, dtype=parameter.dtype))
        for name, buffer in module._buffers.items():
            if buffer is not None:
                module._buffers[name] = torch.empty(buffer.shape, dtype=buffer.dtype)


def _count_parts(model: nn.Module, size: tuple[int, int], proposals: int, detections: int) -> dict[str, int]:
    backbone, rpn, cascade, reid = model.backbone, model.proposal_generator, model.roi_heads, model.reid_head
    height, width = size
    numbers = backbone.strategy.taps
    tap = torch.empty(1, backbone.tower.embed_dim, height // 16, width // 16)
    levels = {
        name: torch.empty(1, spec.channels, height // spec.stride, width // spec.stride)
        for name, spec in backbone.output_shape().items()
    }

    def regions(count: int, pooler: nn.Module) -> Tensor:
        return torch.empty(count, levels["p2"].shape[1], *pooler.output_size)

    def run_cascade(x: Tensor) -> None:
        for head, predictor in zip(cascade.box_head, cascade.box_predictor):
            predictor(head(x))

    pixels = torch.empty(1, 3, height, width)
    return {
        "tower": multiply_adds(lambda: backbone.tower(pixels, taps=numbers)),
        "side or neck": multiply_adds(lambda: backbone.strategy(pixels, {n: tap for n in numbers}, None)),
        "RPN": multiply_adds(lambda: rpn.rpn_head([levels[name] for name in rpn.in_features])),
        "cascade heads": multiply_adds(lambda: run_cascade(regions(proposals, cascade.box_pooler))),
        "ReID": multiply_adds(lambda: reid.embed(reid.fc(reid.convs(regions(detections, reid.pooler))))),
    }


def multiply_adds(call: Callable[[], object]) -> int:
    """Multiply-adds of the matrix products and convolutions of a call, with real tensors or without values.

    torch's counter does not include every fused attention: call with the math backend of ``torch.nn.attention``.
    """
    with FlopCounterMode(display=False, custom_mapping={torch.ops.aten.baddbmm_: _batched_products}) as counter:
        call()
    return counter.get_total_flops() // 2


def _batched_products(_added: torch.Size, a: torch.Size, b: torch.Size, **_) -> int:
    """(n, h, k) by (n, k, w), which torch's counter only knows when it is not done in place."""
    return 2 * a[0] * a[1] * a[2] * b[2]
