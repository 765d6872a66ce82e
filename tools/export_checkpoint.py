#!/usr/bin/env python
"""Export a checkpoint for distribution: the model and its header, without optimizer and iteration.

python tools/export_checkpoint.py output/demo/model_final.pth model.safetensors --half

OUT ending in .pth is a compressed file of torch.save; any other is a safetensors file with the header as JSON.
"""

import argparse
import sys
from pathlib import Path

import torch

from effowt_d2.checkpoint.contents import HEADER
from effowt_d2.checkpoint.safetensors_files import write_safetensors
from effowt_d2.utils.files import write_atomically
from effowt_d2.utils.tensor_files import read_tensors, save_compressed


def distributed(tensor: torch.Tensor, args: argparse.Namespace) -> torch.Tensor:
    """A floating point tensor as the options say."""
    if args.half:
        return tensor.half()
    return tensor if args.bfloat16 is None else to_bfloat16(tensor, args.bfloat16)


def to_bfloat16(tensor: torch.Tensor, bits: int) -> torch.Tensor:
    """The nearest bfloat16 numbers with so many bits of mantissa; those left over are zeros, which take little room."""
    fraction, exponent = torch.frexp(tensor.float())
    # 0.5 <= fraction < 1: its first bit is not stored
    step = 2.0 ** (bits + 1)
    return torch.ldexp((fraction * step).round() / step, exponent).bfloat16()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", metavar="IN")
    parser.add_argument("target", metavar="OUT")
    rounded = parser.add_mutually_exclusive_group()
    rounded.add_argument("--half", action="store_true", help="round floating point tensors to float16")
    bits = "to bfloat16 with so many of its 7 bits of mantissa (7): each bit less takes about a tenth off a compressed file"
    rounded.add_argument("--bfloat16", type=int, nargs="?", const=7, choices=range(1, 8), metavar="BITS", help=bits)
    args = parser.parse_args()
    try:
        checkpoint = read_tensors(args.source)
    except (OSError, ValueError) as error:
        sys.exit(f"export_checkpoint.py: error: {error}")
    if HEADER not in checkpoint:
        sys.exit(
            f"export_checkpoint.py: error: {args.source} is not a checkpoint of effowt_d2; it has {list(checkpoint)}"
        )
    model = {name: distributed(t, args) if t.is_floating_point() else t for name, t in checkpoint["model"].items()}
    if args.target.endswith(".pth"):
        content = {"model": model, HEADER: checkpoint[HEADER]}
        write_atomically(args.target, lambda stream: save_compressed(content, stream))
    else:
        write_safetensors(args.target, model, checkpoint[HEADER])
    print(f"{args.target}: {len(model)} tensors, {Path(args.target).stat().st_size / 1e6:.1f} MB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
