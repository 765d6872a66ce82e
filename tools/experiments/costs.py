"""Cost of a configuration, counted on the model."""

import torch
from detectron2.config import CfgNode
from detectron2.modeling import build_model

from effowt_d2.analysis import count_parameters, count_saved_bytes, dummy_batch, side_total, training_memory
from effowt_d2.checkpoint.contents import trained_state

__all__ = ["count_costs"]


def count_costs(cfg: CfgNode) -> dict[str, object]:
    """Columns of the table of runs: parameters, MiB that a training step holds (square images of noise, two views), and MiB
    of the tensors in a checkpoint of the model.

    Args:
        cfg: of a training.
    """
    # the weights decide on the proposals, and these on what the heads keep
    torch.manual_seed(0)
    model = build_model(cfg)
    counts = count_parameters(model)
    side = cfg.INPUT.MIN_SIZE_TRAIN[0]
    # and so does the sampling of boxes
    torch.manual_seed(0)
    saved = count_saved_bytes(model.train(), dummy_batch(cfg.SOLVER.IMS_PER_BATCH, (side, side)))
    memory = training_memory(cfg, model, saved)
    return {
        "trained_parameters": sum(part.trained for part in counts.values()),
        "side_parameters": side_total(counts),
        "training_mib": sum(memory.values()) / 2**20,
        "checkpoint_mib": sum(tensor.nbytes for tensor in trained_state(model).values()) / 2**20,
    }
