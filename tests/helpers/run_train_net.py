"""train_net.py with the stand-in model, as a script of its own: each process that it starts imports this again."""

import sys
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parents[1]), str(Path(__file__).parents[2])]

import train_net  # noqa: E402
from helpers import stand_in  # noqa: E402, F401  (registers the model and the datasets)

if __name__ == "__main__":
    train_net.run()
