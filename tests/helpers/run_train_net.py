"""train_net.py with the dummy models and the small datasets below $SMALL_SHAPES, as a script of its own.

Each process that it starts imports this again.
"""

import os
import sys
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parents[1]), str(Path(__file__).parents[2])]

import train_net  # noqa: E402
from helpers import dummy_model, small_shapes  # noqa: E402, F401  (registers the models)

small_shapes.register(Path(os.environ["SMALL_SHAPES"]))

if __name__ == "__main__":
    train_net.run()
