"""train_net.py with the stand-in model and a dataset ``one_video``, which is less than two processes can share."""

import os
import sys
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parents[1]), str(Path(__file__).parents[2])]

import train_net  # noqa: E402
from helpers import run_train_net, stand_in  # noqa: E402, F401  (registers the model and the other datasets)

ONE = stand_in.VideoSplit(videos=1, frames=4, size=96, objects=(2, 3), radii=(10.0, 20.0))
FOLDER = Path(os.environ["MINI_SHAPES"]) / "one"

stand_in.DatasetCatalog.register("one_video", lambda: stand_in.load_shapes_ow_videos(ONE, FOLDER))
stand_in.MetadataCatalog.get("one_video").set(json_file=str(FOLDER / "annotations_8.json"), evaluator_type="tao_ow")

if __name__ == "__main__":
    train_net.run()
