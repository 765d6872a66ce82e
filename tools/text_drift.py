#!/usr/bin/env python
"""How far training moved a tower's features of objects, and their similarity to texts.

    python tools/text_drift.py output/experiments/transfer/lora_16_pyramid/seed1 output/... --regions 500

Each argument is the output folder of a training (config.yaml and model_final.pth). The true boxes of its first test
dataset are cropped as for naming, and embedded by the tower as it was loaded and as the training left it. The final norm
and the projection to the text space are never trained. Columns: cosine of the two embeddings of a crop; cosine with the
text of the true category; percent of crops for which the true category's text is the most similar one.
"""

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from detectron2.config import CfgNode
from labelled_videos import LabelledVideos, chosen_dataset
from tabulate import tabulate
from torch import Tensor

from effowt_d2.engine import make_config
from effowt_d2.evaluation.tao_ow import groups_for
from effowt_d2.inference.video_predictor import VideoPredictor
from effowt_d2.modeling.tower import Tower
from effowt_d2.naming.crops import clip_boxes, square_crop
from effowt_d2.naming.two_towers import TwoTowers, load_two_towers
from effowt_d2.utils.boxes import xywh_to_xyxy
from effowt_d2.utils.outputs import output_file

BATCH = 64
GROUPS = ("known", "unknown")
POOLS = {
    "tok": lambda prefix, patches, finish: finish(prefix[:, :1])[:, 0],
    "avg": lambda prefix, patches, finish: finish(patches).mean(dim=1),
}
"""What the image embedding is made of, by open_clip's ``pool_type``."""


def parse_args(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("runs", nargs="+", type=Path, metavar="RUN", help="output folder of a training")
    add("--weights", default="model_final.pth", metavar="NAME", help="checkpoint in each folder")
    add("--regions", type=int, default=500, help="boxes, evenly spaced over the dataset; 0 for all of them")
    add("--threads", type=int, default=1, help="CPU threads")
    add("--json", type=output_file, metavar="OUT")
    args = parser.parse_args(argv)
    if args.regions < 0:
        parser.error(f"--regions must be 0 or more, got {args.regions}")
    return args


class Regions(NamedTuple):
    """N crops of true boxes, and K categories.

    Attributes:
        crops: (N, S, S, 3) uint8 RGB.
        names: of the categories.
        true: (N,) positions among them.
        groups: (N,) bool for each of ``GROUPS``.
    """

    crops: np.ndarray
    names: list[str]
    true: Tensor
    groups: dict[str, Tensor]


def read_regions(cfg: CfgNode, size: int, regions: int) -> Regions:
    """``regions`` true boxes of the first test dataset, or all of them."""
    videos = LabelledVideos(chosen_dataset(cfg), frames=True)
    gt, names = videos.gt, dict(sorted(videos.categories.items()))
    groups = groups_for(gt, None, GROUPS)
    places = np.arange(len(gt.image))
    if 0 < regions < len(places):
        places = places[np.linspace(0, len(places) - 1, regions).round().astype(int)]
    crop = {"size": size, "context": cfg.NAMING.CONTEXT, "max_zoom": cfg.NAMING.MAX_ZOOM}
    crops = []
    for place in places.tolist():
        image = videos.frame(int(gt.image[place]))
        box = clip_boxes(xywh_to_xyxy(gt.boxes[place : place + 1]), *image.shape[:2])[0]
        crops.append(square_crop(image, box, background=cfg.NAMING.BACKGROUND, **crop))
    category = gt.category[places]
    members = {group: torch.from_numpy(groups.members(group, category)) for group in GROUPS}
    true = torch.from_numpy(np.searchsorted(list(names), category))
    return Regions(np.stack(crops), list(names.values()), true, members)


@torch.inference_mode()
def embed(tower: Tower, towers: TwoTowers, crops: np.ndarray) -> Tensor:
    """Embeddings (N, D) of length 1: what the text space's projection makes of a tower's last block."""
    embedded = []
    for part in np.array_split(crops, -(-len(crops) // BATCH)):
        tokens, (dense,) = tower.run(tower.embed(towers.normalise(part)), [tower.depth - 1])
        pooled = POOLS[tower.trunk.pool_type](tokens.x[:, : tokens.prefix], dense.flatten(2).mT, tower.finish)
        embedded.append(pooled @ tower.trunk.proj)
    return F.normalize(torch.cat(embedded).float(), dim=-1)


def similarities(embedded: Tensor, words: Tensor, true: Tensor) -> tuple[Tensor, Tensor]:
    """(N,) cosines with the true text, and whether it is the most similar one."""
    cosines = embedded @ words.T
    return cosines[torch.arange(len(true)), true], cosines.argmax(dim=1) == true


def measure(run: Path, args: argparse.Namespace) -> dict[str, dict[str, dict[str, float]]]:
    """Figures of the tower as loaded and as trained, by group."""
    # crops have the size of the pre-training, and so its positions
    own = ["MODEL.WEIGHTS", str(run / args.weights), "MODEL.VLM.CANVAS", 0]
    cfg = make_config(str(run / "config.yaml"), own)
    towers = load_two_towers(cfg.MODEL.VLM.NAME, cfg.MODEL.VLM.WEIGHTS, device=cfg.MODEL.DEVICE)
    tower = VideoPredictor(cfg).model.backbone.tower
    pool = getattr(tower.trunk, "pool_type", None)
    if pool not in POOLS or tower.trunk.proj is None:
        raise ValueError(
            f"{run}: {tower.name} must pool by {', '.join(POOLS)} and project to the text space, got {pool}"
        )
    regions = read_regions(cfg, towers.image_size, args.regions)
    words = towers.embed_words(regions.names, cfg.NAMING.TEMPLATES).cpu()
    loaded, trained = towers.embed_images(regions.crops).cpu(), embed(tower, towers, regions.crops).cpu()
    figures = {}
    for key, embedded in (("loaded", loaded), ("trained", trained)):
        cosine, right = similarities(embedded, words, regions.true)
        moved = (embedded * loaded).sum(dim=1)
        figures[key] = {
            group: {
                "unmoved": moved[rows].mean().item(),
                "cosine": cosine[rows].mean().item(),
                "right": 100 * right[rows].float().mean().item(),
                "regions": int(rows.sum()),
            }
            for group, rows in regions.groups.items()
        }
    return figures


def rows_of(figures: dict) -> Iterator[list[str]]:
    """A row for the loaded tower of each kind, and one for every run."""
    seen = set()
    for run, both in figures.items():
        for key, groups in both.items():
            cells = [f"{groups[g][name]:{form}}" for name, form in COLUMNS for g in GROUPS]
            if key == "trained" or tuple(cells) not in seen:
                yield [run if key == "trained" else "as loaded", *cells]
            seen.add(tuple(cells))


COLUMNS = (("unmoved", ".3f"), ("cosine", ".3f"), ("right", ".1f"))
HEADERS = ("cosine with loaded", "cosine with text", "% named right")


def main(argv: list[str] | None = None) -> int:
    args = parse_args(argv)
    torch.set_num_threads(args.threads)
    try:
        figures = {"/".join(run.parts[-3:]): measure(run, args) for run in args.runs}
    except (ValueError, OSError) as problem:
        print(f"text_drift.py: error: {problem}", file=sys.stderr)
        return 2
    headers = ["tower", *(f"{name}, {group}" for name in HEADERS for group in GROUPS)]
    print(tabulate(rows_of(figures), headers, tablefmt="pipe", disable_numparse=True))
    if args.json:
        Path(args.json).write_text(json.dumps(figures, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
