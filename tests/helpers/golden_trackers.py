"""Trackers with the recorded weights of LoRAT and SPMTrack, and their recorded runs."""

import torch
from torch import Tensor, nn

from .golden import golden
from .tiny_timm import golden_file, lorat_tower, spmtrack_tower


def parts(tower, *, template_size: int, search_size: int, search_factor: float) -> dict:
    """Arguments of a tracker."""
    # projects, which helpers of the package's own tests do without
    from sot.crops import ContextCrop
    from sot.encoder import JointEncoder
    from sot.head import AnchorFreeHead
    from sot.losses import OverlapLoss
    from sot.window import WindowSelection

    return {
        "backbone": JointEncoder(tower=tower, template_size=template_size, search_size=search_size),
        "template": ContextCrop(size=template_size, factor=2.0),
        "search": ContextCrop(size=search_size, factor=search_factor, min_side=10.0),
        "selection": WindowSelection(weight=0.45),
        "head": AnchorFreeHead(channels=tower.embed_dim),
        "loss": OverlapLoss(),
    }


def lorat_model(template_size: int = 56, search_size: int = 112):
    """LoRAT as recorded."""
    from lorat import LoRAT
    from sot.released import load_released

    sizes = {"template_size": template_size, "search_size": search_size, "search_factor": 4.0}
    model = LoRAT(**parts(lorat_tower(), **sizes))
    load_released(model, golden_file("lorat/trained"))
    return model


def spmtrack_model(template_size: int = 42, search_size: int = 84):
    """SPMTrack as recorded."""
    from sot.modulation import ResponseModulation
    from sot.released import load_released
    from spmtrack import SPMTrack
    from spmtrack.memory import MemoryPolicy
    from spmtrack.readout import BoxWarmup

    sizes = {"template_size": template_size, "search_size": search_size, "search_factor": 5.0}
    own = {"memory": MemoryPolicy(), "modulation": ResponseModulation(), "box_warmup": BoxWarmup()}
    model = SPMTrack(**parts(spmtrack_tower(), **sizes), **own)
    load_released(model, golden_file("spmtrack/trained"))
    return model


def recorded_run(model: nn.Module, file: str) -> list[list[dict[str, Tensor]]]:
    """Track the two recorded videos as one batch; per video and tracked frame what was seen and found."""
    numbers, scores = golden(file), []
    handle = model.head.register_forward_hook(lambda module, args, output: scores.append(output))
    videos = [numbers[f"video{n}.frames"].permute(0, 3, 1, 2) for n in (0, 1)]
    states = [model.start(video[0], numbers[f"video{n}.init_box"][None]) for n, video in enumerate(videos)]
    seen: list[list[dict[str, Tensor]]] = [[], []]
    for frames in list(zip(*(video[1:] for video in videos))):
        crops = [model.search(frame, state.boxes[0], state.padding) for frame, state in zip(frames, states)]
        results = model.step_all(states, frames)
        cells = model.selection(*scores[-1]).cells
        for n, (state, tracks) in enumerate(results):
            pixels = model.backbone.normalise(crops[n].pixels / 255)
            found = {"map": crops[n].map, "mean_std": torch.stack([pixels.mean(), pixels.std()])}
            found |= {"box": tracks.pred_boxes.tensor[0], "confidence": tracks.scores[0], "cell": cells[n]}
            seen[n].append({**found, "score_map": scores[-1].scores[n], "state": state})
        states = [state for state, _ in results]
    handle.remove()
    return seen
