"""Small images whose class is their colour."""

import numpy as np
from PIL import Image

COLOURS = {"blue": (30, 30, 220), "green": (30, 220, 30), "red": (220, 30, 30)}


def draw(file, colour, seed, size=(40, 48)):
    noise = np.random.default_rng(seed).integers(-25, 26, (*size, 3))
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray((np.array(colour) + noise).clip(0, 255).astype(np.uint8)).save(file)
