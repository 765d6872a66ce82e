"""The model: training moves the memory alone, tracking is that of the plain tracker until then, and clips are whole."""

import copy
import json

import numpy as np
import pytest
import torch
from conftest import clip, tiny_memory
from detectron2.data import DatasetCatalog
from detectron2.utils.events import EventStorage
from helpers import ROOT, own_data
from helpers.messages import raises
from helpers.tiny_detector import picture, sharpen
from track_memory.clips import ClipMapper, clip_records

from effowt_d2.checkpoint import EffOWTCheckpointer
from effowt_d2.data import TwoViewMapper, build_train_loader
from effowt_d2.data.datasets.registration import register_datasets
from effowt_d2.data.datasets.shapes_ow import load_shapes_ow_clips
from effowt_d2.data.shapes_ow import VideoSplit
from effowt_d2.engine import OpenWorldTrainer, make_config

KINDS = ("queries", "tokens")
CLIPS = [clip((0, 1), (0, 1), (1, 2), (0, 2)), clip((0,), (), (0, 2), (2,))]


def losses(model, clips=CLIPS):
    with EventStorage(0):
        return model.train()(clips)


def steps(model, count):
    """Train for some steps; the losses before and after."""
    optimizer = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], lr=1e-2)
    first = sum(losses(model).values())
    for _ in range(count):
        optimizer.zero_grad()
        sum(losses(model).values()).backward()
        optimizer.step()
    return first.item(), sum(losses(model).values()).item()


@pytest.mark.parametrize("kind", KINDS)
def test_training_moves_the_memory_alone_and_lowers_the_loss(make, kind):
    model = make(MODEL__TRACK_MEMORY__KIND=kind)
    before = copy.deepcopy(model.state_dict())
    first, last = steps(model, 30)
    assert last < 0.8 * first
    moved = {name for name, value in model.state_dict().items() if not torch.equal(value, before[name])}
    own = {name for name, parameter in model.named_parameters() if name.startswith("memory.")}
    # softmax does not see the bias of keys
    assert moved <= own and all("in_proj_bias" in name or name in moved for name in own)


@pytest.mark.parametrize("kind", KINDS)
def test_every_parameter_has_a_gradient_in_frames_without_objects_too(make, kind):
    model = make(MODEL__TRACK_MEMORY__KIND=kind)
    for clips in (CLIPS, [clip((), ())]):
        model.zero_grad()
        sum(losses(model, clips).values()).backward()
        assert all(p.grad is not None and p.grad.isfinite().all() for p in model.memory.parameters())


def test_objects_of_other_clips_are_others(make):
    model = make()
    together = losses(model, [clip((0, 1), (0, 1)), clip((0, 1), (0, 1))])
    alone = losses(model, [clip((0, 1), (0, 1))])
    # a track has three others to be told from, not one
    assert together["loss_reid"] > alone["loss_reid"]


def track(model):
    state, ids = model.start(), []
    for number in range(4):
        frame = {"image": picture(number % 2), "frame_index": number}
        state, (found,) = model.step(state, [frame])
        ids.append(found.track_ids.tolist())
        assert not found.has("tokens") and not found.has("embeddings")
    return ids


def test_untrained_it_tracks_as_the_plain_tracker(make):
    options = {"TRACKER__MATCH_SCORE": 0.4}
    plain = make(MODEL__META_ARCHITECTURE="OpenWorldTracker", **options).eval()
    sharpen(plain.proposal_generator, plain.roi_heads)
    expected = track(plain)
    assert max(map(max, expected)) > 0
    for kind in KINDS:
        model = make(MODEL__TRACK_MEMORY__KIND=kind, MODEL__TRACK_MEMORY__MOMENTUM=0.8, **options).eval()
        model.load_state_dict(plain.state_dict(), strict=False)
        assert track(model) == expected
        # trained, and with weight 0 again
        torch.nn.init.normal_(model.memory.correct.weight, std=5.0)
        assert track(model) != expected
        model.tracker.remember_by(model.memory, 0.0)
        assert track(model) == expected


def test_videos_share_the_memory_and_a_copy_of_the_model_has_its_own(make):
    model = make()
    assert model.start().tracker.track_state is model.memory
    other = copy.deepcopy(model)
    assert other.tracker.track_state is other.memory is not model.memory


def test_a_checkpoint_of_the_plain_tracker_is_the_start(make, tmp_path):
    plain = make(MODEL__META_ARCHITECTURE="OpenWorldTracker")
    EffOWTCheckpointer(plain, str(tmp_path)).save("plain")
    model = make()
    torch.nn.init.zeros_(model.reid_head.embed.weight)
    EffOWTCheckpointer(model, str(tmp_path), partial=True).load(str(tmp_path / "plain.pth"))
    assert torch.equal(model.reid_head.embed.weight, plain.reid_head.embed.weight)


def test_settings_are_read():
    for key, value in {"WIDTH": 20, "HEADS": 4, "LAYERS": 2, "LENGTH": 5, "MOMENTUM": 0.9, "WEIGHT": 0.25}.items():
        model = OpenWorldTrainer.build_model(tiny_memory(**{f"MODEL__TRACK_MEMORY__{key}": value}))
        decoder = model.memory.decoder
        found = {
            "WIDTH": model.memory.correct.in_features,
            "HEADS": decoder.layers[0].cross.num_heads,
            "LAYERS": len(decoder.layers),
            "LENGTH": model.memory.queue.length,
            "MOMENTUM": model.memory.average.momentum,
            "WEIGHT": model.tracker.state_weight,
        }
        assert found[key] == value
    model = OpenWorldTrainer.build_model(tiny_memory(MODEL__TRACK_MEMORY__KIND="tokens", MODEL__TRACK_MEMORY__POOL=3))
    assert model.memory.prompts.pool == 3
    for options, data in (
        ({"HEADS": 3}, ("MODEL.TRACK_MEMORY.HEADS", 3)),
        ({"KIND": "tokens", "POOL": 8}, ("MODEL.TRACK_MEMORY.POOL", 8, 7)),
        ({"KIND": "dreams"}, ("MODEL.TRACK_MEMORY.KIND", "dreams", "queries", "tokens")),
        ({"WEIGHT": 2.0}, ("MODEL.TRACK_MEMORY.WEIGHT", 2.0)),
    ):
        with raises(ValueError, *data):
            OpenWorldTrainer.build_model(tiny_memory(**{f"MODEL__TRACK_MEMORY__{k}": v for k, v in options.items()}))


def test_clips_hold_known_objects_of_one_video(tmp_path):
    folder = own_data.write_images(tmp_path)
    (folder / "tao.json").write_text(json.dumps(own_data.tao()))
    cfg = tiny_memory(
        DATA__LOADER="clips",
        DATA__REGISTER=[["own_clips", str(folder / "tao.json"), str(folder), "tao"]],
        DATA__CLASSES=["dog", "car"],
        DATASETS__TRAIN=("own_clips",),
        DATA__CLIP_LENGTH=3,
        DATA__CLIP_STRIDE=2,
        SOLVER__IMS_PER_BATCH=2,
        DATALOADER__NUM_WORKERS=0,
        SEED=1,
    )
    with own_data.forgotten("own_clips"):
        register_datasets(cfg)
        batch = next(iter(build_train_loader(cfg)))
        again = next(iter(build_train_loader(cfg)))
    assert [len(sample["frames"]) for sample in batch] == [3, 3]
    assert len({sample["file_name"] for sample in batch}) == 2
    for one, two in zip(batch, again):
        assert all(torch.equal(a["image"], b["image"]) for a, b in zip(one["frames"], two["frames"]))


def test_frames_go_forward_and_the_last_one_repeats():
    records = [{"file_name": f"v/{n}.png", "video_id": 1, "frame_index": n, "annotations": []} for n in (2, 0, 1)]
    (record,) = clip_records(records)
    assert [frame["frame_index"] for frame in record["frames"]] == [0, 1, 2]

    class Numbers(TwoViewMapper):
        def view(self, record):
            return record["frame_index"]

    mapper = ClipMapper(views=Numbers(augmentations=[]), length=4, stride=2)
    for seed in range(10):
        np.random.seed(seed)
        found = mapper(record)["frames"]
        assert len(found) == 4 and found == sorted(found) and set(found) <= {0, 1, 2}
    still = clip_records([{"file_name": "a.png", "annotations": []}])
    assert [len(record["frames"]) for record in still] == [1]
    for options in ({"length": 1}, {"stride": 0}):
        with raises(ValueError, *options):
            ClipMapper(views=Numbers(augmentations=[]), **options)


def test_clips_of_shapes_label_known_shapes_only(tmp_path):
    records = load_shapes_ow_clips(VideoSplit(name="train", videos=2, frames=3, size=96), tmp_path / "clips")
    assert len(records) == 6 and set(records.open_world) >= {"known"}
    assert {record["video_id"] for record in records} == {1, 2}
    cfg = make_config(str(ROOT / "projects/TrackMemory/configs/shapes_ow_memory.yaml"))
    assert "shapes_ow_train_clips_changing" in cfg.DATASETS.TRAIN and set(cfg.DATASETS.TRAIN) <= set(
        DatasetCatalog.list()
    )
