"""train_net.py with the small ShapesOW below $SMALL_SHAPES, as a script of its own."""

import os
import sys
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parents[1]), str(Path(__file__).parents[2])]

import train_net  # noqa: E402
from helpers import small_shapes  # noqa: E402

if __name__ == "__main__":
    with small_shapes.registered(Path(os.environ["SMALL_SHAPES"])):
        train_net.run()
