"""Train a small vision-language model on images in class folders, captioned images and labelled boxes.

    python tools/train_vlm.py --words words.tsv --folder animals 64 --folder things 128 \
        --captions captions.csv 128 --boxes annotations.json images 96 --output runs/vlm --stages 64:4000 96:1000

``--output`` gets ``last.pt`` (to continue from: call the same command again, with more steps if wanted), ``model.pt``
(for open_clip) and ``log.jsonl``. ``packed/`` keeps the decoded images. The text format of words is described in
``effowt_d2/data/image_text/vocabulary.py``.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import logging
import math
import time
from collections import Counter
from pathlib import Path

import open_clip
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from vlm_lab.arguments import check_arguments
from vlm_lab.augment import change_colours, cut_and_paste, step_generator
from vlm_lab.evaluation import compared_classes, zero_shot
from vlm_lab.loading import Ready, batches_from
from vlm_lab.loss import caption_loss, class_loss, related_classes
from vlm_lab.muon import make_optimizers
from vlm_lab.schedule import learning_rate, parse_stages, size_at
from vlm_lab.state import export, load_state, save_state
from vlm_lab.towers import encode_images, encode_texts, start_positions

from effowt_d2.assets import register_vlm_configs
from effowt_d2.data.image_text import (
    PackedImages,
    Vocabulary,
    box_samples,
    caption_samples,
    folder_samples,
    pack,
    read_vocabulary,
)
from effowt_d2.data.image_text.batches import PairBatches

PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16}
# options that may change without a word when a run is continued; of --words the content counts
_FREE = {"stages", "decay", "output", "device", "workers", "threads", "words", "packed", "save_seconds"}
_FREE |= {"log_every", "eval_every", "eval_count", "held_out", "packed_held_out"}
logger = logging.getLogger("train_vlm")


def run_settings(args: argparse.Namespace, vocabulary: Vocabulary) -> dict:
    """What shapes a run, as plain values for its checkpoint."""
    content = hashlib.sha256(repr([tuple(row) for row in vocabulary]).encode()).hexdigest()[:12]
    chosen = {name: value for name, value in vars(args).items() if name not in _FREE}
    return {**json.loads(json.dumps(chosen, default=str)), "words_content": content}


def packed_sources(args: argparse.Namespace) -> list[PackedImages]:
    """All images of the command line, decoded."""
    sources = [(folder_samples(folder), folder, side) for folder, side in args.folder]
    sources += [(caption_samples(table), table, side) for table, side in args.captions]
    sources += [
        (box_samples(manifest, images=images, per_class=args.boxes_per_class), manifest, side)
        for manifest, images, side in args.boxes
    ]
    packed = args.packed or args.output / "packed"
    return [PackedImages(folder) for folder in args.packed_sources] + [
        pack(samples, packed / f"{i}_{Path(name).stem}", side=int(side))
        for i, (samples, name, side) in enumerate(sources)
    ]


def batch_loss(
    model: torch.nn.Module,
    ready: Ready,
    *,
    related: torch.Tensor,
    step: int,
    random: torch.Generator,
    mixed: float,
    kind_weight: float,
    word_weight: float,
    precision: torch.dtype,
) -> torch.Tensor:
    """The loss of one batch: over the texts of classes, of kinds, over captions, and over words and their meanings."""
    batch, device = ready.batch, model.logit_scale.device
    classes, kinds, text_classes = (
        t.to(device, non_blocking=True) for t in (batch.classes, batch.kinds, batch.text_classes)
    )
    images, named = batch.images.to(device, non_blocking=True), len(classes)
    also_true, mix, own = related[classes][:, text_classes], bool(torch.rand(1, generator=random) < mixed), 1.0
    if mix:
        pasted, own = cut_and_paste(images[:named], random)
        images, also_true = torch.cat([pasted, images[named:]]), also_true | also_true.roll(1, dims=0)
    with kernels(device), torch.autocast(device.type, precision, enabled=precision != torch.float32):
        images = encode_images(model.visual, change_colours(images, random), step=step)
        texts = encode_texts(model, ready.tokens)
    scale = model.logit_scale.exp()
    texts, captions, names, meanings = texts.split([len(part) for part in batch.all_texts])
    logits = scale * images[:named] @ texts.T

    def of_classes(targets: torch.Tensor) -> torch.Tensor:
        loss = class_loss(logits, targets, text_classes=text_classes, also_true=also_true)
        if mix:
            other = class_loss(logits, targets.roll(1), text_classes=text_classes, also_true=also_true)
            loss = own * loss + (1 - own) * other
        return loss

    loss = of_classes(classes) + kind_weight * of_classes(kinds)
    if len(images) > named:
        part = caption_loss(scale * images[named:] @ captions.T)
        loss = loss + (len(images) - named) / len(images) * part
    if len(names):
        loss = loss + word_weight * caption_loss(scale * names @ meanings.T)
    return loss


def kernels(device: torch.device) -> contextlib.AbstractContextManager:
    """On a CPU the backward pass of fused attention is several times slower than plain matrix products."""
    return sdpa_kernel(SDPBackend.MATH) if device.type == "cpu" else contextlib.nullcontext()


class Training:
    """A run: model, optimizers, batches and what is written on the way."""

    def __init__(self, args: argparse.Namespace) -> None:
        self.args, self.stages = args, parse_stages(args.stages)
        self.steps = sum(steps for _, steps in self.stages)
        torch.manual_seed(args.seed)
        self.model = open_clip.create_model(args.model, load_weights=False).to(args.device)
        largest = self.model.visual.image_size[0]
        if max(size for size, _ in self.stages) > largest:
            raise ValueError(f"--stages: {args.model} takes images of {largest} pixels at most, got {args.stages}")
        self.words_at_start = self.model.token_embedding.weight.detach().clone()
        start_positions(self.model.visual)
        with torch.no_grad():
            self.model.logit_scale.fill_(math.log(10))
        self.tokenizer = open_clip.get_tokenizer(args.model)
        self.vocabulary = read_vocabulary(args.words)
        dictionary = read_vocabulary(args.dictionary) if args.dictionary else ()
        self.optimizers = make_optimizers(self.model, lr=args.lr, muon_lr=args.muon_lr, weight_decay=args.weight_decay)
        self.peaks = [args.muon_lr, args.lr]
        self.settings = run_settings(args, self.vocabulary)
        self.first = self._steps_done()
        self.held_out = self._held_out()
        self.batches = PairBatches(
            self.vocabulary,
            packed_sources(args),
            batch=args.batch,
            texts=args.texts,
            dictionary=dictionary,
            seed=args.seed,
        )
        self.related = related_classes(self.vocabulary.kinds).to(args.device)

    def _steps_done(self) -> int:
        """The number of steps of the last checkpoint, which is loaded; 0 where there is none."""
        last = self.args.output / "last.pt"
        if not last.is_file():
            return 0
        first = load_state(last, self.model, self.optimizers, settings=self.settings)
        if first > self.steps:
            raise ValueError(f"{last} is at step {first}, --stages has {self.steps}")
        logger.info("continuing from step %d of %s", first, last)
        return first

    def _held_out(self) -> PackedImages | None:
        packed = self._packed_held_out()
        if packed is None:
            return None
        compared_classes(self.vocabulary, packed.labels)
        unknown = Counter(label for label in packed.labels if label not in self.vocabulary.index)
        if unknown:
            count, names = unknown.total(), sorted(unknown)
            logger.warning("%d held-out images of %d labels without a word skipped: %s", count, len(names), names[:10])
        return packed

    def _packed_held_out(self) -> PackedImages | None:
        if self.args.packed_held_out:
            return PackedImages(self.args.packed_held_out)
        if not self.args.held_out:
            return None
        folder, side = self.args.held_out
        packed = (self.args.packed or self.args.output / "packed") / "held_out"
        return pack(folder_samples(folder), packed, side=int(side))

    def run(self) -> None:
        """Train from the last checkpoint, or from the start, to the last step."""
        self.model.train()
        average, saved, seen, start = None, time.monotonic(), 0, time.monotonic()
        ready = batches_from(
            self.batches,
            self.tokenizer,
            stages=self.stages,
            first=self.first,
            workers=self.args.workers,
            pinned=self.args.device != "cpu",
        )
        for step, batch in enumerate(ready, self.first):
            loss = self.step(step, batch)
            average = loss if average is None else 0.98 * average + 0.02 * loss
            seen += self.args.batch
            if (step + 1) % self.args.log_every == 0:
                rate = seen / (time.monotonic() - start)
                seen, start = 0, time.monotonic()
                self.log(step=step + 1, loss=average.item(), size=size_at(step, self.stages), images_per_second=rate)
            evaluated = (step + 1) % self.args.eval_every == 0 or step + 1 == self.steps
            if evaluated or time.monotonic() - saved > self.args.save_seconds:
                self.save("last.pt", step)
                saved = time.monotonic()
            if step + 1 == self.steps - self.args.decay:
                self.save("before_decay.pt", step)
            if evaluated:
                self.evaluate(step)
        export(self.args.output / "model.pt", self.model, self.words_at_start)

    def save(self, name: str, step: int) -> None:
        """Write a checkpoint after a step."""
        save_state(self.args.output / name, self.model, self.optimizers, step=step + 1, settings=self.settings)

    def step(self, step: int, ready: Ready) -> torch.Tensor:
        """One step of training; its loss."""
        rate = learning_rate(step, warmup=self.args.warmup, decay=self.args.decay, steps=self.steps)
        for optimizer, peak in zip(self.optimizers, self.peaks, strict=True):
            for group in optimizer.param_groups:
                group["lr"] = rate * peak
        loss = batch_loss(
            self.model,
            ready,
            related=self.related,
            step=step,
            random=step_generator(self.args.seed, step),
            mixed=self.args.mixed,
            kind_weight=self.args.kind_weight,
            word_weight=self.args.word_weight,
            precision=PRECISIONS[self.args.precision],
        )
        self.model.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        for optimizer in self.optimizers:
            optimizer.step()
        with torch.no_grad():
            self.model.logit_scale.clamp_(0, math.log(100))
        return loss.detach()

    def evaluate(self, step: int) -> None:
        """Zero-shot accuracy on a part of the held-out images, at the size of the step."""
        if self.held_out is None:
            return
        self.model.eval()
        size = size_at(step, self.stages)
        scores = zero_shot(
            self.model, self.tokenizer, self.vocabulary, self.held_out, size=size, count=self.args.eval_count
        )
        self.model.train()
        self.log(step=step + 1, size=size, **scores)

    def log(self, **values) -> None:
        """Write values to the log file and the console."""
        values = {k: round(v, 4) if isinstance(v, float) else v for k, v in values.items()}
        logger.info(" ".join(f"{k} {v}" for k, v in values.items()))
        with open(self.args.output / "log.jsonl", "a", encoding="utf-8") as file:
            file.write(json.dumps({"time": round(time.time()), **values}) + "\n")


def parser() -> argparse.ArgumentParser:
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--words", type=Path, required=True, help="vocabulary file")
    p.add_argument("--dictionary", type=Path, help="vocabulary file of words with descriptions, without images")
    p.add_argument(
        "--folder",
        nargs=2,
        action="append",
        default=[],
        metavar=("FOLDER", "SIDE"),
        help="class folders, and the side in pixels that their images are kept at",
    )
    p.add_argument("--captions", nargs=2, action="append", default=[], metavar=("CSV", "SIDE"))
    p.add_argument("--boxes", nargs=3, action="append", default=[], metavar=("JSON", "IMAGES", "SIDE"))
    p.add_argument("--boxes-per-class", type=int, default=400, help="most boxes of a class")
    p.add_argument("--held-out", nargs=2, metavar=("FOLDER", "SIDE"), help="class folders for the accuracy in the log")
    p.add_argument("--packed", type=Path, help="folder of decoded images; default: OUTPUT/packed")
    p.add_argument(
        "--packed-sources",
        nargs="+",
        type=Path,
        default=[],
        metavar="FOLDER",
        help="folders packed by an earlier run; used unchanged",
    )
    p.add_argument("--packed-held-out", type=Path, metavar="FOLDER", help="such a folder in place of --held-out")
    p.add_argument("--output", type=Path, required=True)
    p.add_argument("--model", default="RealCLIP-S-16", help="open_clip model name")
    p.add_argument("--stages", nargs="+", default=["64:4000", "96:1000", "192:100"], metavar="SIZE:STEPS")
    p.add_argument("--warmup", type=int, default=100, help="steps of linear warm-up")
    p.add_argument("--decay", type=int, default=800, help="last steps, over which the rate falls to zero")
    p.add_argument("--batch", type=int, default=256)
    p.add_argument("--texts", type=int, default=384, help="texts of classes in a batch, at least")
    p.add_argument("--kind-weight", type=float, default=0.3, help="of the loss over kinds")
    p.add_argument("--word-weight", type=float, default=0.2, help="of the loss over words of the dictionary")
    p.add_argument("--mixed", type=float, default=0.5, help="fraction of the batches whose images are cut and pasted")
    p.add_argument("--lr", type=float, default=2e-3, help="of AdamW")
    p.add_argument("--muon-lr", type=float, default=3e-3, help="of the matrices in the blocks")
    p.add_argument("--weight-decay", type=float, default=0.05)
    p.add_argument("--seed", type=int, default=0)
    p.add_argument("--device", default="cpu")
    p.add_argument("--precision", choices=sorted(PRECISIONS), default="float32", help="of both towers")
    p.add_argument("--workers", type=int, default=0, help="processes that make batches; 0: in the main process")
    p.add_argument("--threads", type=int, default=2)
    p.add_argument("--log-every", type=int, default=20)
    p.add_argument("--save-seconds", type=float, default=240)
    p.add_argument("--eval-every", type=int, default=250)
    p.add_argument("--eval-count", type=int, default=1000)
    return p


def main() -> None:
    args = parser().parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    torch.backends.cuda.matmul.allow_tf32 = True  # of what is left in single precision
    register_vlm_configs()
    try:
        check_arguments(args)
        torch.set_num_threads(args.threads)
        args.output.mkdir(parents=True, exist_ok=True)
        training = Training(args)
    except (OSError, ValueError) as error:
        raise SystemExit(f"train_vlm.py: {error}") from error
    training.run()


if __name__ == "__main__":
    main()
