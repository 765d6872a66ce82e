"""Train the small vision-language model of ShapesOW on rendered image-text pairs, on a CPU or a GPU.

Contrastive training with open_clip's model, tokenizer and loss; the result is an open_clip checkpoint in half
precision. docs/shapes_ow.md has the command that made the shipped one and its figures.
"""

from __future__ import annotations

import argparse
import logging
import math
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import open_clip
import torch
from open_clip.pos_embed import get_2d_sincos_pos_embed
from shapes_lab.captions import captioned_batch, single_object
from shapes_lab.zero_shot import normalise, zero_shot_accuracy
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.data import DataLoader, Dataset
from tqdm import tqdm
from vlm_lab.state import export

from effowt_d2.assets.vlm_configs import FOLDER, SHAPES_CLIP, register_vlm_configs

_HELD_OUT = 4  # random stream of the evaluation pictures
logger = logging.getLogger("train_shapes_vlm")


class CaptionedBatches(Dataset):
    """Rendered batches by number: images uint8 (B, S, S, 3) and token ids (B, L).

    Large single objects come first and give way to the whole distribution over the first ``easy`` steps:
    pictures and words find each other much sooner that way. The first ``small`` steps use pictures of half
    the side, which cost a quarter; the rest use the model's own size.
    """

    def __init__(
        self, *, seed: int, steps: int, easy: int, small: int, batch: int, size: int, tokenizer: Callable
    ) -> None:
        self.seed, self.steps, self.easy, self.small = seed, steps, easy, small
        self.batch, self.size, self.tokenizer = batch, size, tokenizer

    def __len__(self) -> int:
        return self.steps

    def __getitem__(self, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        cv2.setNumThreads(1)
        ease = max(0.0, 1 - index / max(1, self.easy))
        size = self.size // 2 if index < self.small else self.size
        images, captions = captioned_batch(seed=self.seed, index=index, batch=self.batch, size=size, ease=ease)
        return torch.from_numpy(images), self.tokenizer(captions)


def held_out(*, seed: int, count: int, size: int) -> tuple[torch.Tensor, list[int]]:
    """Single-object pictures from a random stream that training never reads, and their category ids."""
    pairs = [single_object(np.random.default_rng([seed, _HELD_OUT, index]), size=size) for index in range(count)]
    return torch.from_numpy(np.stack([image for image, _ in pairs])), [look.category_id for _, look in pairs]


def learning_rate(step: int, *, peak: float, warmup: int, steps: int) -> float:
    """Linear warm-up, then a cosine to zero."""
    if step < warmup:
        return peak * (step + 1) / warmup
    return peak * 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, steps - warmup)))


def whiten_patches(model: torch.nn.Module, images: torch.Tensor) -> None:
    """Start the patch embedding as a whitening of rendered patches, in place.

    With a random projection the mean colour of a patch drowns its edges, and shapes are made of edges.

    Args:
        model: an open_clip model with a plain vision transformer.
        images: (N, H, W, 3) uint8 pictures to take the patches from.
    """
    convolution = model.visual.conv1
    patch = convolution.kernel_size[0]
    patches = F.unfold(normalise(images), patch, stride=patch).transpose(1, 2).flatten(0, 1).double()
    values, vectors = torch.linalg.eigh(torch.cov(patches.T))
    kept = slice(len(values) - convolution.out_channels, None)
    # directions weaker than the pixel noise are left weak
    filters = vectors[:, kept] / torch.sqrt(values[kept].clamp_min(0) + 1e-2)
    with torch.no_grad():
        convolution.weight.copy_(filters.T.reshape(convolution.weight.shape))


def make_optimizers(
    model: torch.nn.Module, *, lr: float, muon_lr: float, weight_decay: float
) -> list[torch.optim.Optimizer]:
    """Muon for the matrices inside the transformer blocks, AdamW for everything else."""
    blocks = [p for part in (model.visual.transformer, model.transformer) for p in part.parameters() if p.ndim == 2]
    inside = {id(p) for p in blocks}
    others = [p for p in model.parameters() if id(p) not in inside]
    return [
        torch.optim.Muon(blocks, lr=muon_lr, weight_decay=weight_decay, adjust_lr_fn="match_rms_adamw"),
        torch.optim.AdamW(others, lr=lr, betas=(0.9, 0.98), weight_decay=0.0),
    ]


def evaluate(model: torch.nn.Module, tokenizer, pictures: tuple[torch.Tensor, list[int]]) -> dict:
    """Zero-shot accuracy on the held-out pictures, in eval mode."""
    model.eval()
    device = model.logit_scale.device
    scores = zero_shot_accuracy(model, lambda texts: tokenizer(texts).to(device), pictures[0].to(device), pictures[1])
    model.train()
    return scores


def window(table: torch.Tensor, *, cells: int, step: int) -> torch.Tensor:
    """Cut the position table of a smaller picture out of the whole one, at a place that wanders with the
    step.

    Args:
        table: (1 + S * S, C) positions, the class token's first.
        cells: side of the smaller grid in patches.
        step: number of the training step.

    Returns:
        (1 + cells * cells, C)
    """
    side = math.isqrt(len(table) - 1)
    top, left = divmod(step * 7 % (side - cells + 1) ** 2, side - cells + 1)  # 7: every place in turn, far apart
    grid = table[1:].unflatten(0, (side, side))[top : top + cells, left : left + cells]
    return torch.cat([table[:1], grid.flatten(0, 1)])


def encode(visual: torch.nn.Module, pixels: torch.Tensor, positions: torch.Tensor) -> torch.Tensor:
    """open_clip's own forward of a plain vision transformer, with the positions given.

    Args:
        visual: ``open_clip.transformer.VisionTransformer``.
        pixels: (N, 3, H, W), normalised.
        positions: (1 + H * W / patch**2, C).

    Returns:
        (N, embedding size); equal to ``visual(pixels)`` for the whole table.
    """
    patches = visual.conv1(pixels).flatten(2).transpose(1, 2)
    first = visual.class_embedding.to(patches.dtype).expand(len(patches), 1, -1)
    tokens = visual.ln_pre(torch.cat([first, patches], dim=1) + positions.to(patches.dtype))
    pooled, _ = visual._pool(visual.transformer(tokens))
    return pooled @ visual.proj


def build(args: argparse.Namespace) -> tuple[torch.nn.Module, DataLoader, Callable]:
    """The model with its starting weights, the batches, and the tokenizer."""
    register_vlm_configs()
    torch.manual_seed(args.seed)
    model = open_clip.create_model(args.model)
    size = model.visual.image_size[0]
    whiten_patches(model, torch.from_numpy(captioned_batch(seed=args.seed + 1, index=0, batch=256, size=size)[0]))
    with torch.no_grad():  # neighbouring positions start alike: what is learned at one place holds nearby
        grid = get_2d_sincos_pos_embed(model.visual.ln_pre.normalized_shape[0], model.visual.grid_size[0], True)
        model.visual.positional_embedding.copy_(torch.from_numpy(grid))
    tokenizer = open_clip.get_tokenizer(args.model)
    batches = CaptionedBatches(
        seed=args.seed,
        steps=args.steps,
        easy=args.easy,
        small=args.small,
        batch=args.batch,
        size=size,
        tokenizer=tokenizer,
    )
    return model.to(args.device), DataLoader(batches, batch_size=None, num_workers=args.workers), tokenizer


def train(args: argparse.Namespace) -> None:
    """Run the whole training and write the checkpoint."""
    model, loader, tokenizer = build(args)
    vision = torch.compile(encode, dynamic=False) if args.compile else encode
    optimizers = make_optimizers(model, lr=args.lr, muon_lr=args.muon_lr, weight_decay=args.weight_decay)
    groups = [(group, group["lr"]) for optimizer in optimizers for group in optimizer.param_groups]
    pictures = held_out(seed=args.seed, count=args.eval_count, size=model.visual.image_size[0])
    patch, average = model.visual.patch_size[0], None
    words = model.token_embedding.weight.detach().clone()
    bar = tqdm(loader, total=args.steps, desc="training", mininterval=5)
    for step, (images, tokens) in enumerate(bar):
        for group, peak in groups:
            group["lr"] = learning_rate(step, peak=peak, warmup=args.warmup, steps=args.steps)
        positions = window(model.visual.positional_embedding, cells=images.shape[1] // patch, step=step)
        loss = contrastive_loss(model, vision, images.to(args.device), tokens.to(args.device), positions)
        model.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for optimizer in optimizers:
            optimizer.step()
        with torch.no_grad():
            model.logit_scale.clamp_(0, math.log(100))
        average = loss.item() if average is None else 0.95 * average + 0.05 * loss.item()
        bar.set_postfix(loss=f"{average:.3f}")
        if (step + 1) % args.save_every == 0 or step + 1 == args.steps:
            export(args.output, model, words)
            scores = evaluate(model, tokenizer, pictures)
            logger.info("step %d loss %.3f %s", step + 1, average, {k: round(100 * v, 1) for k, v in scores.items()})


def contrastive_loss(
    model: torch.nn.Module,
    vision: Callable,
    images: torch.Tensor,
    tokens: torch.Tensor,
    positions: torch.Tensor,
) -> torch.Tensor:
    """open_clip's contrastive loss of a batch of uint8 pictures and token ids."""
    # on a CPU the fused attention's backward pass is several times slower than plain matrix products
    with torch.autocast(images.device.type, dtype=torch.bfloat16), sdpa_kernel(SDPBackend.MATH):
        image_features = vision(model.visual, normalise(images), positions)
    text_features = model.encode_text(tokens, normalize=True)
    return open_clip.ClipLoss()(F.normalize(image_features.float(), dim=-1), text_features, model.logit_scale.exp())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--model", default=SHAPES_CLIP, help="open_clip model name")
    parser.add_argument("--output", type=Path, default=FOLDER / f"{SHAPES_CLIP}.pt", help="checkpoint to write")
    parser.add_argument("--steps", type=int, default=3200)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--lr", type=float, default=2e-3)
    parser.add_argument("--muon-lr", type=float, default=5e-3, help="of the matrices in the blocks")
    parser.add_argument("--warmup", type=int, default=100, help="steps of linear warm-up")
    parser.add_argument("--easy", type=int, default=1500, help="steps from large single objects to everything")
    parser.add_argument("--small", type=int, default=2600, help="first steps, with images of half the side")
    parser.add_argument("--weight-decay", type=float, default=0.05)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--compile", action="store_true", help="compile the model first (needs a C++ compiler)")
    parser.add_argument("--threads", type=int, default=2, help="torch threads")
    parser.add_argument("--workers", type=int, default=1, help="rendering processes")
    parser.add_argument("--save-every", type=int, default=500, help="steps between checkpoints and evaluations")
    parser.add_argument("--eval-count", type=int, default=560, help="held-out images")
    args = parser.parse_args()
    if not hasattr(torch.optim, "Muon"):
        parser.error(f"needs torch.optim.Muon, that is torch 2.9 or newer; this is torch {torch.__version__}")
    if not args.output.parent.is_dir():
        parser.error(f"--output: the folder {args.output.parent} does not exist")
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    torch.set_num_threads(args.threads)
    train(args)


if __name__ == "__main__":
    main()
