"""Both towers of a CLIP model, whose embeddings of images and texts can be compared.

Shapes: N images of S x S pixels, V words, D channels of the common embedding.
"""

import logging
from collections.abc import Mapping, Sequence

import numpy as np
import open_clip
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from effowt_d2.modeling.tower import Tower, build_tower
from effowt_d2.modeling.tower.builder import OPENCLIP, fetch_weights, find_weights, without_random_warning
from effowt_d2.modeling.tower.eva_weights import is_eva_detector
from effowt_d2.modeling.tower.timm_trunks import is_timm
from effowt_d2.modeling.tower.weight_files import read_weights
from effowt_d2.utils.arguments import about_argument, bad_argument
from effowt_d2.utils.state_dicts import check_tensors

__all__ = ["TwoTowers", "load_two_towers"]

_TEXTS_AT_ONCE = 256
# entries of old files that are no weights of the text tower
_NO_WEIGHTS = ("input_resolution", "context_length", "vocab_size", "text.transformer.embeddings.position_ids")
logger = logging.getLogger(__name__)


class TwoTowers:
    """A CLIP model of open_clip in eval mode, for square images.

    Args:
        model: with the weights of both towers.
        tokenize: turns a list of texts into (N, L) token ids.
        pixel_mean, pixel_std: RGB, for pixels in 0..1.

    Attributes:
        image_size: side S of the images in pixels.
        scale: factor of cosines before a softmax, as trained.
    """

    def __init__(self, model: nn.Module, *, tokenize, pixel_mean: Sequence[float], pixel_std: Sequence[float]) -> None:
        self._model = model.eval()
        self._tokenize = tokenize
        self._device = model.logit_scale.device
        self._mean = torch.tensor(pixel_mean, device=self._device)
        self._std = torch.tensor(pixel_std, device=self._device)
        side = model.visual.image_size
        self.image_size = int(side if isinstance(side, int) else side[0])
        self.scale = float(model.logit_scale.detach().float().exp())

    @torch.inference_mode()
    def embed_words(self, words: Sequence[str], templates: Sequence[str]) -> Tensor:
        """Embeddings of words, each the mean over its texts.

        Args:
            words: V words; underscores are read as blanks.
            templates: texts with one ``{}`` for the word.

        Returns:
            (V, D) float32, of length 1.
        """
        total = 0
        for template in templates:
            tokens = self._tokenize([template.replace("{}", word.replace("_", " ")) for word in words])
            parts = [self._model.encode_text(part.to(self._device)) for part in tokens.split(_TEXTS_AT_ONCE)]
            total = total + F.normalize(torch.cat(parts).float(), dim=-1)
        return F.normalize(total, dim=-1)

    @torch.inference_mode()
    def embed_images(self, images: np.ndarray) -> Tensor:
        """Embeddings of images: (N, S, S, 3) uint8 RGB to (N, D) float32, of length 1."""
        # a tower that is shared with a detector has the detector's dtype
        pixels = self.normalise(images).to(next(self._model.visual.parameters()).dtype)
        return F.normalize(self._model.encode_image(pixels).float(), dim=-1)

    def normalise(self, images: np.ndarray) -> Tensor:
        """Input of the image tower: (N, S, S, 3) uint8 RGB to (N, 3, S, S) float32 of mean 0 and variance 1."""
        pixels = torch.from_numpy(images).to(self._device).float() / 255
        return ((pixels - self._mean) / self._std).permute(0, 3, 1, 2)


def load_two_towers(
    name: str,
    weights: str,
    *,
    device: str | torch.device,
    unsafe_pickle: bool = False,
    tower: Tower | None = None,
) -> TwoTowers:
    """Load both towers of a CLIP model from the file that a detector takes its tower from.

    Args:
        name, weights, unsafe_pickle: as for ``build_tower``.
        device: where they run.
        tower: a detector's tower of the same weights. Where it is frozen, on ``device`` and still a whole vision half,
            it serves here too, so that its weights are in memory once; otherwise a copy is loaded.

    Raises:
        ValueError: there are no weights, or no text tower in them; and as ``build_tower``.
        FileNotFoundError, OSError, RuntimeError: as ``build_tower``.
    """
    if not weights:
        raise bad_argument(
            "weights",
            "are empty: names come from the trained towers of a CLIP model, and there are none; "
            "name a CLIP weights file, or do without a vocabulary",
        )
    source = find_weights(name, weights)
    if weights.startswith(OPENCLIP):
        source = fetch_weights(name, source)
    with about_argument("weights"):
        state = read_weights(source, unsafe_pickle=unsafe_pickle)
    if is_timm(name):
        raise _without_text(source, f"{name} is a vision model")
    if is_eva_detector(state):  # which could serve as a tower
        raise _without_text(source, "it is a detection checkpoint of EVA")
    if tower is None or not _is_reusable(tower, name, device):
        tower = build_tower(name, weights, canvas=0, unsafe_pickle=unsafe_pickle).to(device)
    with without_random_warning():
        model = open_clip.create_model(name, load_weights=False, pretrained_text=False)
    with about_argument("weights"):
        _load_text_half(model, state, name=name, file=source)
    model.visual = tower.trunk
    return TwoTowers(
        model.to(device).requires_grad_(False),
        tokenize=open_clip.get_tokenizer(name),
        pixel_mean=tower.pixel_mean,
        pixel_std=tower.pixel_std,
    )


def _is_reusable(tower: Tower, name: str, device: str | torch.device) -> bool:
    """Whether a detector's tower can be run as a vision half."""
    place = torch.empty(0, device=device).device
    loaded = tower.whole_trunk and tower.frozen and not tower.merged
    return loaded and tower.name == name and next(tower.parameters()).device == place


def _without_text(file: str, reason: str) -> ValueError:
    return bad_argument(
        "weights",
        f"{file} have no text tower ({reason}), so tracks can't be named; "
        "name a file of a whole CLIP model, or do without a vocabulary",
    )


def _load_text_half(model: nn.Module, state: Mapping[str, Tensor], *, name: str, file: str) -> None:
    """Fill all of a CLIP model but its ``visual``, or nothing."""
    expected = {key: value for key, value in model.state_dict().items() if not key.startswith("visual.")}
    found = _text_half(state, model)
    if not found.keys() & (expected.keys() - {"logit_scale", "logit_bias"}):
        raise _without_text(file, "all its tensors are of the vision tower")
    problem = f"{file} could not be loaded into the text tower of {name}, nothing of it was"
    check_tensors(found, expected, problem=problem)
    model.load_state_dict(found, strict=False)
    logger.info("%s: %d tensors for the text tower", file, len(found))


def _text_half(state: Mapping[str, Tensor], model: nn.Module) -> dict[str, Tensor]:
    text = {key: value for key, value in state.items() if not key.startswith("visual.") and key not in _NO_WEIGHTS}
    if "positional_embedding" in text and not hasattr(model, "positional_embedding"):
        text = open_clip.model.convert_to_custom_text_state_dict(text)
    if "logit_scale" in text:
        text["logit_scale"] = text["logit_scale"].reshape(model.logit_scale.shape)
    return text
