"""Sentences about images from a vision-language model of transformers, LLaVA or LLaVA-NeXT.

transformers is imported where a model is asked for, ``projects/MustDrop`` where it is to drop tokens.
"""

import importlib
import time
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np
import torch
from detectron2.config import CfgNode, configurable
from PIL import Image

from effowt_d2.utils.arguments import bad_argument, config_keys
from effowt_d2.utils.checks import check_count

__all__ = ["MODEL_TYPES", "Description", "ImageDescriber", "MissingPackageError", "check_describer"]

MODEL_TYPES = ("llava", "llava_next")
ALL_TOKENS = "none"
"""What is dropped where the model runs as it is."""
_MUSTDROP = "mustdrop-"

_PLAIN_PROMPT = "USER: <image>\n{} ASSISTANT:"


class MissingPackageError(ImportError, ValueError):
    """A package is missing that only descriptions need; also a ValueError, as any setting that cannot be."""


@dataclass(frozen=True)
class Description:
    """What the model says about an image.

    Attributes:
        text: without the prompt.
        image_tokens: that the image came to.
        kept_tokens: of these, that were left behind the last stage of MustDrop; all without it.
        tokens: of the text.
        seconds: that it took.
        time: of the frame that it was cut out of, in seconds.
    """

    text: str
    image_tokens: int
    kept_tokens: int
    tokens: int
    seconds: float
    time: float = 0.0


def check_describer(model: str, drop: str = ALL_TOKENS) -> None:
    """Find out what can be known to fail before a model is loaded.

    Args:
        model: folder, or name on the Hugging Face hub.
        drop: ``none``, or ``mustdrop-`` and the name of one of its published settings.

    Raises:
        MissingPackageError: transformers, or mustdrop where it is to drop tokens, is not installed.
        ValueError: the model is no LLaVA, or ``drop`` is none of these; names what there is.
        OSError: there is no such model.
    """
    found = _package("transformers", "pip install 'transformers>=4.57,<6'").AutoConfig.from_pretrained(model)
    if found.model_type not in MODEL_TYPES:
        raise bad_argument(
            "describe", f"takes models of the types {', '.join(MODEL_TYPES)}: {model} is {found.model_type}"
        )
    if drop == ALL_TOKENS:
        return
    known = [f"{_MUSTDROP}{name}" for name in _mustdrop().PUBLISHED]
    if drop not in known:
        raise bad_argument("drop", f"must be one of {', '.join([ALL_TOKENS, *known])}, got {drop!r}")


class ImageDescriber:
    """Describes images, one at a time, by greedy decoding.

    ``ImageDescriber(cfg, model)`` reads ``DESCRIBE`` and ``MODEL.DEVICE`` of a config.

    Args:
        model: folder, or name on the Hugging Face hub.
        device: where it runs; on a CPU in float32, elsewhere in the dtype of its files.
        prompt: what it is asked about an image.
        max_tokens: of a text, at most.
        drop: see :func:`check_describer`.

    Raises:
        MissingPackageError, ValueError, OSError: see :func:`check_describer`; or the files are not complete.
    """

    @configurable
    def __init__(
        self,
        *,
        model: str,
        device: str = "cpu",
        prompt: str = "Describe the object in the middle of this image in one short sentence.",
        max_tokens: int = 40,
        drop: str = ALL_TOKENS,
    ):
        _check_asked(prompt, max_tokens)
        check_describer(model, drop)
        self._max_tokens = max_tokens
        self._drop = drop
        transformers = importlib.import_module("transformers")
        self._processor = transformers.AutoProcessor.from_pretrained(model)
        dtype = torch.float32 if torch.device(device).type == "cpu" else "auto"
        loaded = transformers.AutoModelForImageTextToText.from_pretrained(model, dtype=dtype)
        self._model = loaded.to(device).eval()
        self._prompt = self._asked(prompt)

    @classmethod
    def from_config(cls, cfg: CfgNode, model: str) -> dict:
        node = cfg.DESCRIBE
        asked = {"prompt": node.PROMPT, "max_tokens": node.MAX_TOKENS}
        with config_keys("DESCRIBE"):
            _check_asked(**asked)
            check_describer(model, node.DROP)
        return {"model": model, "device": cfg.MODEL.DEVICE, "drop": node.DROP, **asked}

    @torch.no_grad()
    def __call__(self, image: np.ndarray) -> Description:
        """(H, W, 3) uint8 RGB to what the model says about it."""
        begin = time.perf_counter()
        inputs = self._processor(images=Image.fromarray(image), text=self._prompt, return_tensors="pt")
        inputs = inputs.to(self._model.device, self._model.dtype)
        length = inputs["input_ids"].shape[1]
        with self._dropping() as session:
            output = self._model.generate(**inputs, max_new_tokens=self._max_tokens, do_sample=False)
        said = output[0, length:]
        image_tokens = int((inputs["input_ids"] == self._model.config.image_token_id).sum())
        return Description(
            text=" ".join(self._processor.decode(said, skip_special_tokens=True).split()),
            image_tokens=image_tokens,
            kept_tokens=session.reports[0].counts[-1] if session is not None else image_tokens,
            tokens=len(said),
            seconds=time.perf_counter() - begin,
        )

    def _dropping(self) -> AbstractContextManager[Any]:
        if self._drop == ALL_TOKENS:
            return nullcontext()
        return _mustdrop().MustDrop(self._model, setting=self._drop.removeprefix(_MUSTDROP))

    def _asked(self, prompt: str) -> str:
        if not getattr(self._processor, "chat_template", None):
            return _PLAIN_PROMPT.format(prompt)
        content = [{"type": "image"}, {"type": "text", "text": prompt}]
        return self._processor.apply_chat_template([{"role": "user", "content": content}], add_generation_prompt=True)


def _check_asked(prompt: str, max_tokens: int) -> None:
    check_count("max_tokens", max_tokens)
    if not prompt.strip():
        raise bad_argument("prompt", f"must say what is asked, got {prompt!r}")


def _mustdrop() -> ModuleType:
    return _package("mustdrop", "pip install -e projects/MustDrop, or DESCRIBE.DROP none")


def _package(name: str, remedy: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise MissingPackageError(
            f"descriptions need the package {name}, which cannot be imported: {error}; {remedy}"
        ) from error
