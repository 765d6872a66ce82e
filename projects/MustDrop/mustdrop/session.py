"""MustDrop on a model of transformers, as a context."""

import inspect
from contextlib import ExitStack
from typing import Any
from weakref import WeakSet

import torch
from torch import Tensor, nn

from .compat import check_model
from .filtering import DualAttentionFilter
from .images import EncodedPrompt, ImageEncoder
from .prefill import PrefillDrop
from .refusals import check_call, check_generation
from .report import Report
from .rows import Row, join_rows, only_row, split_rows
from .settings import Setting, setting_named

__all__ = ["MustDrop"]

_ACTIVE: "WeakSet[nn.Module]" = WeakSet()


class MustDrop:
    """Within the context, the model's ``generate`` and ``forward`` drop vision tokens; without an image nothing changes.

    ``generate`` returns what it returns without MustDrop, and takes a batch of prompts one after the other. Sampling and
    beams work. ``forward`` takes one prompt, or rows that all hold it, and returns the logits of the rows that are left.

    Args:
        model: LLaVA or LLaVA-NeXT for conditional generation, of transformers, in eval mode.
        setting: the name of a published one (``192``, ``128``, ``64``, ``64-vizwiz``, ``off``) or a :class:`Setting`.
        positions: ``original`` keeps every token's position; ``renumber`` counts again after each drop, as the release.

    Attributes:
        reports: of the prompts with an image of the last call.

    Raises:
        ImportError: if transformers is missing or of an unknown version.
        TypeError, KeyError, ValueError: if the model is no LLaVA, or the setting is unknown or does not suit it.
    """

    def __init__(self, model: nn.Module, *, setting: str | Setting = "64", positions: str = "original"):
        check_model(model)
        self.model = model
        self.setting = setting_named(setting)
        self.encoder = ImageEncoder(model, self.setting)
        self.drop = PrefillDrop(
            model.model.language_model,
            layers=self.encoder.layers,
            choose=DualAttentionFilter.from_setting(self.setting),
            positions=positions,
        )
        self.reports: list[Report] = []
        self._stack = ExitStack()

    def __enter__(self) -> "MustDrop":
        if self.model in _ACTIVE:
            raise RuntimeError("the model is within a MustDrop context already; leave it first")
        if self.setting.off:
            return self
        with ExitStack() as stack:
            _ACTIVE.add(self.model)
            stack.callback(_ACTIVE.discard, self.model)
            stack.enter_context(self.drop.attached())
            stack.callback(self.model.register_forward_pre_hook(self._forward, with_kwargs=True).remove)
            self._generate = self.model.generate
            self.model.generate = self.generate
            stack.callback(delattr, self.model, "generate")
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.close()

    @torch.no_grad()
    def generate(self, inputs: Tensor | None = None, **kwargs: Any) -> Any:
        """What the model's ``generate`` returns, with fewer vision tokens behind it.

        Raises:
            ValueError: for what cannot be combined with a shortened cache, named in the message.
        """
        pixels = kwargs.pop("pixel_values", None)
        if pixels is None:
            return self._generate(inputs, **kwargs)
        ids = kwargs.pop("input_ids", inputs)
        if ids is None:
            raise ValueError("pixel_values came without input_ids: MustDrop needs the prompt")
        check_generation(self.model, kwargs, prompts=len(ids))
        sizes, mask = kwargs.pop("image_sizes", None), kwargs.pop("attention_mask", None)
        rows = split_rows(ids, pixels, sizes, mask)
        self.reports = []
        outputs = [self._generate_row(row, kwargs) for row in rows]
        return join_rows(outputs, self.model.generation_config)

    def _generate_row(self, row: Row, kwargs: dict) -> Any:
        encoded = self._encode(row)
        shorter = len(row.ids) - encoded.ids.shape[1]
        lengths = {name: kwargs[name] - shorter for name in ("max_length", "min_length") if kwargs.get(name)}
        try:
            output = self._generate(
                input_ids=encoded.ids,
                inputs_embeds=encoded.embeds,
                attention_mask=torch.ones_like(encoded.ids),
                **{**kwargs, **lengths},
            )
        finally:
            self.drop.expect(None)
        tokens = output if isinstance(output, Tensor) else output.sequences
        tokens = torch.cat([row.padded.expand(len(tokens), -1), tokens[:, encoded.ids.shape[1] :]], 1)
        if isinstance(output, Tensor):
            return tokens
        output.sequences = tokens
        return output

    def _forward(self, model: nn.Module, args: tuple, kwargs: dict) -> tuple[tuple, dict] | None:
        given = inspect.signature(model.forward).bind_partial(*args, **kwargs).arguments
        given.update(given.pop("kwargs", {}))
        pixels = given.pop("pixel_values", None)
        if pixels is None:
            return None
        check_call(model, given)
        row = only_row(
            given.pop("input_ids"), pixels, given.pop("image_sizes", None), given.pop("attention_mask", None)
        )
        self.reports = []
        encoded = self._encode(row)
        for name in ("position_ids", "cache_position"):
            given.pop(name, None)
        return (), {**given, "inputs_embeds": encoded.embeds.expand(row.copies, -1, -1)}

    def _encode(self, row: Row) -> EncodedPrompt:
        encoded = self.encoder(row.ids, row.pixels, row.image_sizes)
        self.drop.expect(encoded.prefill)
        self.reports.append(encoded.report)
        return encoded
