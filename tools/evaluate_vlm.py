"""Zero-shot accuracy of a vision-language model on images in class folders.

    python tools/evaluate_vlm.py --weights model.pt --words words.tsv --folder val 64

With several ``--words`` the first names the classes of the images and the others are wrong answers to choose from.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path

import open_clip
import torch
from vlm_lab.arguments import check_model, check_side
from vlm_lab.evaluation import compared_classes, zero_shot

from effowt_d2.assets import register_vlm_configs
from effowt_d2.data.image_text import (
    PackedImages,
    Row,
    Sample,
    Vocabulary,
    folder_samples,
    name_key,
    pack,
    read_rows,
)
from effowt_d2.utils.state_dicts import check_tensors
from effowt_d2.utils.tensor_files import named_tensors, read_tensors


def load_model(name: str, weights: Path) -> torch.nn.Module:
    """An open_clip model in eval mode, from a file that holds all of it.

    Raises:
        ValueError: there is no such model, or the file is damaged, no file of weights, or not of this model.
    """
    check_model(name)
    state = named_tensors(read_tensors(str(weights)), str(weights))
    model = open_clip.create_model(name, load_weights=False)
    check_tensors(state, model.state_dict(), problem=f"{weights} is not of the model {name}")
    model.load_state_dict(state)
    return model.eval()


def merged(files: list[list[Row]]) -> Vocabulary:
    """One vocabulary of several files, whose kinds may be lines of another file.

    A name or id that an earlier file has, in any case, is dropped of the later ones, and so are rows without any left.
    """
    rows, names, ids = [], set(), set()
    for words in files:
        for row in words:
            row = row._replace(names=tuple(n for n in row.names if name_key(n) not in names))
            row = row._replace(ids=tuple(i for i in row.ids if i not in ids))
            if row.names and row.ids:
                rows.append(row)
        names |= {name_key(name) for row in words for name in row.names}
        ids |= {id_ for row in words for id_ in row.ids}
    return Vocabulary(rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="RealCLIP-S-16", help="open_clip model name")
    parser.add_argument("--weights", type=Path, required=True, help="model.pt or last.pt of tools/train_vlm.py")
    parser.add_argument("--words", type=Path, action="append", required=True, help="vocabulary file")
    parser.add_argument("--folder", nargs=2, required=True, metavar=("FOLDER", "SIDE"))
    parser.add_argument("--packed", type=Path, help="folder of decoded images; default: a temporary one")
    parser.add_argument("--size", type=int, help="image size in pixels; default: the model's")
    parser.add_argument("--count", type=int, default=0, help="images to take at most, spread evenly; 0 for all")
    parser.add_argument(
        "--all",
        dest="among",
        action="store_const",
        const="all",
        default="own",
        help="compare with all words, not only the images' classes",
    )
    parser.add_argument("--described", action="store_true", help="names are followed by kinds and description")
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    register_vlm_configs()
    try:
        folder, side = args.folder[0], check_side("--folder", args.folder[1])
        words = merged([read_rows(path) for path in args.words])
        samples = folder_samples(folder)
        check_labels(words, samples, among=args.among)
        model = load_model(args.model, args.weights)
        with tempfile.TemporaryDirectory() as temporary:
            images = pack(samples, args.packed or temporary, side=side)
            scores = evaluate(args, model, words, images)
    except (OSError, ValueError) as error:
        raise SystemExit(f"evaluate_vlm.py: {error}") from error
    print(json.dumps(scores))


def check_labels(words: Vocabulary, samples: list[Sample], *, among: str) -> None:
    """Make sure that the labels of images are ids, and that there are two classes to compare."""
    labels = [sample.label for sample in samples]
    unknown = sorted(set(labels) - set(words.index))
    if unknown:
        raise ValueError(f"folders {unknown[:10]} are no ids of the vocabulary")
    compared_classes(words, labels, among=among)


def evaluate(args: argparse.Namespace, model: torch.nn.Module, words: Vocabulary, images: PackedImages) -> dict:
    """The scores of one folder."""
    return zero_shot(
        model,
        open_clip.get_tokenizer(args.model),
        words,
        images,
        size=args.size or model.visual.image_size[0],
        count=args.count,
        among=args.among,
        described=args.described,
    )


if __name__ == "__main__":
    main()
