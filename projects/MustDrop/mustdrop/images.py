"""From a prompt with pixels to its embeddings with fewer vision tokens, and their key set.

Shapes: n positions of P + N + T placeholders and text tokens, N image placeholders, V vision tokens, D channels.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from .budget import LanguageShape, VisionShape
from .compat import features_of, is_next
from .prefill import Prefill
from .report import Report
from .settings import Setting
from .vision import VisionStage, key_tokens

__all__ = ["EncodedPrompt", "ImageEncoder"]


class EncodedPrompt(NamedTuple):
    """Attributes:
    ids: (1, P + V + T) the prompt with a placeholder per vision token that is left.
    embeds: (1, P + V + T, D).
    prefill: what the language model's hooks need.
    report: of this prompt.
    """

    ids: Tensor
    embeds: Tensor
    prefill: Prefill
    report: Report


class ImageEncoder:
    """Stage 1 on one prompt of a LLaVA or LLaVA-NeXT model.

    Tiles of LLaVA-NeXT are packed by their full grid, with newlines between the rows: nothing is merged there.
    """

    def __init__(self, model: nn.Module, setting: Setting):
        self.inner = model.model
        self.config = config = model.config
        self.layers = setting.layers_of(config.get_text_config().num_hidden_layers)
        self.token = config.image_token_id
        self.next = is_next(model)
        self.key_ratio = setting.key_ratio
        self.vision = VisionStage(
            self.inner.vision_tower,
            merge_threshold=None if self.next else setting.merge_threshold,
            merge_window=setting.merge_window,
        )
        if config.vision_feature_select_strategy != "default":
            raise ValueError(
                "MustDrop needs vision_feature_select_strategy 'default', patches without the class token, not "
                f"{config.vision_feature_select_strategy!r}"
            )
        self._check_feature_layers(config.vision_feature_layer)

    def _check_feature_layers(self, layers: int | list[int]) -> None:
        depth = len(self.vision.layers)
        chosen = [layers] if isinstance(layers, int) else list(layers)
        early = [layer for layer in chosen if layer % (depth + 1) < 2]
        if early and self.vision.merge_threshold is not None:
            raise ValueError(f"vision_feature_layer {early} lies below the merge; merge_threshold must be None with it")

    def __call__(self, ids: Tensor, pixels: Tensor, image_sizes: Tensor | None = None) -> EncodedPrompt:
        """Args:
            ids: (n,) of one prompt, without padding.
            pixels: of its images, (images, 3, H, W), or (1, tiles, 3, H, W) for LLaVA-NeXT.
            image_sizes: (1, 2) height and width, for LLaVA-NeXT.

        Raises:
            ValueError: if the placeholders are not one run, do not fit the images or no text follows them.
        """
        prefix, places = self._image_run(ids)
        extra = {} if image_sizes is None else {"image_sizes": image_sizes}
        with self.vision.attached():
            features = features_of(self.inner.get_image_features(pixel_values=pixels, **extra))
        keys = key_tokens(self.vision.attention, self.key_ratio)
        keys = self._packed(keys, image_sizes) if self.next else self._offset(keys)
        self._check_count(places, len(features), features)
        tokens = torch.cat(features)
        words = self.inner.get_input_embeddings()(ids[None])
        tail = prefix + places
        embeds = torch.cat([words[:, :prefix], tokens[None].to(words), words[:, tail:]], 1)
        short = torch.cat([ids[: prefix + len(tokens)], ids[tail:]])[None]
        prefill = Prefill(prefix=prefix, vision=len(tokens), length=short.shape[1], keys=keys)
        return EncodedPrompt(short, embeds, prefill, self._report(places, prefill))

    def _report(self, places: int, prefill: Prefill) -> Report:
        tiles, tokens = self.vision.attention.shape
        off = "off: tiles are packed by their full grid" if self.next else "off"
        return Report(
            language=LanguageShape.from_config(self.config.get_text_config()),
            vision=VisionShape.from_config(self.config),
            layers=self.layers,
            image_tokens=places,
            key_tokens=len(prefill.keys),
            merge=off if self.vision.merge_threshold is None else "on",
            tiles=tiles,
            tile_tokens=tokens,
            prefill=prefill,
        )

    def _image_run(self, ids: Tensor) -> tuple[int, int]:
        """First placeholder and number of them."""
        at = torch.nonzero(ids == self.token)[:, 0]
        if not len(at):
            raise ValueError(f"pixels were passed, but the prompt has no image token {self.token}")
        first, last = int(at[0]), int(at[-1])
        if last - first + 1 != len(at):
            raise ValueError(
                f"MustDrop takes images that follow each other, and text stands between those of this prompt: "
                f"{len(at)} image tokens from position {first} to {last}"
            )
        if last + 1 == len(ids):
            raise ValueError("no text follows the image; MustDrop judges the vision tokens by the text after them")
        return first, len(at)

    def _check_count(self, places: int, images: int, features: list[Tensor]) -> None:
        merged = self.vision.merged
        given = sum(map(len, features)) if merged is None else images * int(merged.sizes.sum())
        if given != places:
            raise ValueError(f"the prompt has {places} image tokens, and its {images} images give {given}")

    def _offset(self, keys: Tensor) -> Tensor:
        """(images, K) -> (images * K,) among the tokens of all images."""
        starts = torch.arange(len(keys), device=keys.device) * self.vision.attention.shape[1]
        return (keys + starts[:, None]).flatten()

    def _packed(self, keys: Tensor, image_sizes: Tensor | None) -> Tensor:
        """(tiles, K) -> places of those of the key set that packing leaves in the sequence."""
        tiles, patches = self.vision.attention.shape
        numbers = torch.arange(tiles * patches, dtype=torch.float64, device=keys.device).view(tiles, patches, 1)
        # packed as features are: each place of the sequence then has its patch's number, a newline -1
        packed, _ = self.inner.pack_image_features(
            [numbers], image_sizes, vision_feature_select_strategy="default", image_newline=-numbers.new_ones(1)
        )
        return torch.nonzero(torch.isin(packed[0][:, 0].long(), self._offset(keys)))[:, 0]
