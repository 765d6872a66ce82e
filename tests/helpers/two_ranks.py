"""Run under torchrun by test_tao_ow_evaluator.py: the processes share the videos, the first one scores.

Arguments: ground truth, tracks (the results as a list), output folder.
"""

import json
import os
import sys

import torch
from detectron2.data import MetadataCatalog
from detectron2.structures import Boxes, Instances
from detectron2.utils import comm

from effowt_d2.evaluation import TAOOWEvaluator
from effowt_d2.utils.boxes import xywh_to_xyxy

SUBSETS = ("all", "known", "unknown", "distractor")


def feed(evaluator, gt, results, videos):
    """Hand the frames of some videos to the evaluator, one at a time, as a model would."""
    for image in (image for image in gt["images"] if image["video_id"] in videos):
        here = [entry for entry in results if entry["image_id"] == image["id"]]
        boxes = torch.tensor([entry["bbox"] for entry in here]).reshape(-1, 4)
        instances = Instances((100, 100))
        instances.pred_boxes = Boxes(xywh_to_xyxy(boxes))
        instances.scores = torch.tensor([entry["score"] for entry in here])
        instances.track_ids = torch.tensor([entry["track_id"] for entry in here], dtype=torch.int64)
        frame = {"image_id": image["id"], "video_id": image["video_id"]}
        evaluator.process([frame], [{"instances": instances}])


def run(gt_file, results_file, output_dir):
    """Evaluate with all processes and return the scores, which are empty on all but the first."""
    name = f"two_ranks {gt_file}"
    MetadataCatalog.get(name).json_file = gt_file
    with open(gt_file) as gt, open(results_file) as results:
        gt, results = json.load(gt), json.load(results)
    evaluator = TAOOWEvaluator(name, output_dir=output_dir, subsets=SUBSETS)
    # the last video first, so that gathering has something to put in order
    videos = [video["id"] for video in gt["videos"]][::-1]
    feed(evaluator, gt, results, videos[comm.get_rank() :: comm.get_world_size()])
    return evaluator.evaluate()


if __name__ == "__main__":
    torch.distributed.init_process_group("gloo")
    assert comm.get_world_size() == 2
    scores = run(*sys.argv[1:])
    assert bool(scores) == comm.is_main_process()
    if scores:
        with open(os.path.join(sys.argv[3], "scores.json"), "w") as file:
            json.dump(scores, file)
    torch.distributed.destroy_process_group()
