"""Samplers, jitter, augmentation, and the loader of training clips."""

import itertools

import numpy as np
import pytest
import sot
import torch
from detectron2.data import DatasetCatalog, MetadataCatalog
from helpers.configs import plugin_config, set_keys
from helpers.golden import golden
from sot.crops import ContextCrop
from sot.data.augmentation import CropAugmentation
from sot.data.batches import MixedBatches
from sot.data.catalog import register_sequences
from sot.data.jitter import CropJitter
from sot.data.layouts import read_layout
from sot.data.loader import build_clip_loader
from sot.data.sampling import ClipSampler, PairSampler
from sot.data.sequence import TargetSequence

from effowt_d2.data import build_train_loader
from effowt_d2.formats import DatasetError

BOX = [[10.0, 10, 30, 40]]


def sequence(visible, **options):
    visible = np.asarray(visible, dtype=bool)
    files = [f"{number}.jpg" for number in range(len(visible))]
    return TargetSequence(name="bird-7", files=files, boxes=np.array(BOX * len(visible)), present=visible, **options)


def draws(sampler, sequence, count, seed=0):
    np.random.seed(seed)
    return [sampler(sequence) for _ in range(count)]


def test_pairs_are_near_visible_and_run_both_ways():
    visible = np.ones(500, dtype=bool)
    visible[100:200] = False
    pairs = [(r[0], s[0]) for r, s in draws(PairSampler(max_gap=60), sequence(visible), 2000)]
    gaps = np.array([search - template for template, search in pairs])
    assert all(visible[list(pair)].all() for pair in pairs)
    assert abs(gaps).max() == 60 and (gaps != 0).all() and 0.4 < (gaps > 0).mean() < 0.6
    # on its own, a frame is both
    assert draws(PairSampler(), sequence([True]), 1)[0] == ((0,), (0,))
    assert not PairSampler().fits(sequence([False, False]))


def clip_statistics(frames):
    frames = np.asarray(frames, dtype=int)
    forward = frames[:, -1] > frames[:, 0]
    along = np.where(forward[:, None], frames, -frames)
    references, gap = np.ptp(along[:, :3], axis=1), along[:, 3] - along[:, 2]
    return np.array([references.mean(), gap.mean(), (along[:, 4] - along[:, 3]).mean(), 100 * forward.mean()])


def test_clips_follow_the_distribution_of_the_release():
    numbers = golden("spmtrack/misc")
    visible, recorded = numbers["sampler.visible"].bool().numpy(), numbers["sampler.draws"].numpy()
    made = np.array([sum(drawn, ()) for drawn in draws(ClipSampler(), sequence(visible), 2000)])
    # 400 recorded draws: standard errors of the means are about 5 frames, of the fraction 2.5 %
    assert (abs(clip_statistics(made) - clip_statistics(recorded)) < [18, 16, 16, 8]).all()


def test_clips_keep_their_rules():
    visible = np.ones(1200, dtype=bool)
    visible[300:420] = False
    directions = set()
    for references, searches in draws(ClipSampler(), sequence(visible), 1000):
        frames = [*references, *searches]
        assert len(references) == 3 and len(searches) == 2 and visible[frames].all()
        assert np.ptp(frames) <= 800 and frames in (sorted(frames), sorted(frames)[::-1])
        directions.add(frames[-1] > frames[0])
    assert directions == {True, False}


def test_still_images_and_short_sequences():
    still = TargetSequence(name="still", files=["a.jpg"], boxes=np.array(BOX), still=True)
    assert ClipSampler()(still) == ((0, 0, 0), (0, 0)) and ClipSampler().fits(still)
    short = sequence([True, True, True])
    assert not ClipSampler().fits(short)
    with pytest.raises(DatasetError, match="bird-7"):
        draws(ClipSampler(), short, 1)
    with pytest.raises(DatasetError, match="bird-7.*0 of 4"):
        draws(ClipSampler(), sequence([False] * 4), 1)


def test_jitter_is_that_of_the_release():
    numbers = golden("lorat/geometry")
    policy, jitter = ContextCrop(size=64, factor=4.0), CropJitter()
    for row, box in enumerate(numbers["jitter.boxes"]):
        noise = iter(numbers["jitter.noise"][row].numpy())
        requested, serves = jitter(policy, box, lambda noise=noise: next(noise))
        torch.testing.assert_close(requested, numbers["jitter.params"][row], rtol=0, atol=1e-6)
        assert serves == bool(numbers["jitter.accepted"][row])


def test_jitter_gives_up():
    drawn = []

    def far_off():
        drawn.append(1)
        return np.array([0.0, 0, 9, 9])

    box = torch.tensor(BOX[0], dtype=torch.float64)
    _, serves = CropJitter(attempts=3)(ContextCrop(size=64, factor=4.0), box, far_off)
    assert not serves and len(drawn) == 3


def test_flips_move_boxes_and_effects_are_shared():
    np.random.seed(3)
    crops = [torch.rand(3, 16, 20) for _ in range(4)]
    boxes = [torch.tensor([2.0, 3, 8, 9], dtype=torch.float64)] * 4
    changed, moved = CropAugmentation(flip=1.0, colours=0.0, effects=False)(crops, boxes)
    assert changed[0].equal(crops[0].flip(-1)) and moved[0].tolist() == [12, 3, 18, 9]
    same, _ = CropAugmentation(flip=0.0, colours=0.0, effects=False)(crops, boxes)
    assert all(a.equal(b) for a, b in zip(same, crops))
    kinds = set()
    for _ in range(30):
        effects, _ = CropAugmentation(flip=0.0, colours=0.0)(crops, boxes)
        grey = [bool((crop[0] == crop[1]).all()) for crop in effects]
        solarised = [bool(((new == old) | (new - (1 - old)).abs().lt(1e-6)).all()) for new, old in zip(effects, crops)]
        assert len(set(grey)) == 1 and len(set(solarised)) == 1
        kinds.add("grey" if grey[0] else "solarised" if solarised[0] else "blurred")
    assert kinds == {"grey", "solarised", "blurred"}
    flips = {tuple(m[0].item() for m in CropAugmentation(colours=0.0)(crops, boxes)[1]) for _ in range(20)}
    assert any(len(set(flip)) == 2 for flip in flips)
    coloured, _ = CropAugmentation(flip=0.0, effects=False)([crops[0]] * 2, boxes[:2])
    assert not coloured[0].equal(coloured[1]) and coloured[0].min() >= 0 and coloured[0].max() <= 1


def test_batches_mix_datasets_and_resume():
    def take(count, **options):
        batches = MixedBatches(sizes=[3, 50], weights=[1, 3], batch_size=4, seed=5, **options)
        return list(itertools.islice(iter(batches), count))

    stream = [index for batch in take(200) for _, index in batch]
    assert 0.2 < np.mean(np.array(stream) < 3) < 0.3
    rare = [index for index in stream if index < 3]
    assert all(sorted(rare[n : n + 3]) == [0, 1, 2] for n in range(0, len(rare) - 2, 3))
    resumed = MixedBatches(sizes=[3, 50], weights=[1, 3], batch_size=4, seed=5)
    resumed.start = 7
    assert list(itertools.islice(iter(resumed), 3)) == take(10)[7:]
    ranks = [take(5, rank=rank, world_size=2) for rank in (0, 1)]
    assert [sorted(a + b) for a, b in zip(*ranks)] == [sorted(batch) for batch in take(5)]
    for bad in ({"weights": [1.0]}, {"weights": [0.0, 0.0]}, {"batch_size": 0}):
        with pytest.raises(ValueError, match=next(iter(bad))):
            MixedBatches(**{"sizes": [1, 2], "batch_size": 2, "seed": 0, **bad})


@pytest.fixture
def names(folders):
    registered = {"sot_samples": "got10k", "sot_samples_test": "lasot"}
    for name, layout in registered.items():
        split = "test" if name.endswith("test") else "own"
        register_sequences(name, lambda layout=layout: read_layout(layout, folders[layout]), split=split)
    yield list(registered)
    for name in registered:
        DatasetCatalog.remove(name)
        MetadataCatalog.remove(name)


def config(**options):
    cfg = plugin_config()
    sot.add_config(cfg)
    small = {"INPUT__SOT__TEMPLATE_SIZE": 32, "INPUT__SOT__SEARCH_SIZE": 64, "DATA__LOADER": "sot", "SEED": 3}
    small.update(DATASETS__TRAIN=("sot_samples",), SOLVER__IMS_PER_BATCH=3, DATALOADER__NUM_WORKERS=0)
    return set_keys(cfg, **{**small, **options})


def take(loader, count):
    return list(itertools.islice(iter(loader), count))


@pytest.mark.parametrize("sampler, references, searches", [("pair", 1, 1), ("clip", 3, 2)])
def test_the_loader_makes_samples(names, sampler, references, searches):
    batches = take(build_train_loader(config(INPUT__SOT__SAMPLER=sampler)), 4)
    for sample in itertools.chain(*batches):
        assert sample["templates"].shape == (references, 3, 32, 32) and sample["searches"].shape == (
            searches,
            3,
            64,
            64,
        )
        assert (
            sample["templates"].dtype == torch.float32
            and 0 <= sample["searches"].min()
            and sample["searches"].max() <= 1
        )
        sides = sample["search_boxes"][:, 2:] - sample["search_boxes"][:, :2]
        # pixels of the crop are whole ones, which changes the map by less than one of them
        assert sides.min() > 8 and sample["template_boxes"].shape == (references, 4)
        assert sample["file_name"].endswith(".jpg") and sample["image_id"].startswith("rectangle")
    assert len(batches[0]) == 3


def test_the_loader_is_seeded_by_place(names):
    def same(one, other):
        return all(a["searches"].equal(b["searches"]) and a["image_id"] == b["image_id"] for a, b in zip(one, other))

    plain = take(build_clip_loader(config()), 4)
    with_workers = take(build_clip_loader(config(DATALOADER__NUM_WORKERS=1)), 2)
    assert all(same(a, b) for a, b in zip(plain, with_workers))
    resumed = build_clip_loader(config())
    resumed.batches.start = 2
    assert all(same(a, b) for a, b in zip(plain[2:], take(resumed, 2)))
    assert not same(plain[0], take(build_clip_loader(config(SEED=4)), 1)[0])


def test_templates_show_the_target_in_the_middle(names):
    (batch,) = take(
        build_clip_loader(
            config(INPUT__SOT__AUGMENT=False, INPUT__SOT__JITTER_SCALE=0.0, INPUT__SOT__JITTER_SHIFT=0.0)
        ),
        1,
    )
    for sample in batch:
        for boxes, size in ((sample["template_boxes"], 32), (sample["search_boxes"], 64)):
            centre = (boxes[0, :2] + boxes[0, 2:]) / 2
            # the rounding to whole pixels moves it by up to about a pixel
            assert (centre - size / 2).abs().max() < 1.5


def test_what_cannot_be_trained_on_is_named(names, folders):
    with pytest.raises(ValueError, match="sot_samples_test"):
        build_clip_loader(config(DATASETS__TRAIN=("sot_samples_test",)))
    with pytest.raises(ValueError, match="sot_samples.*3 sequences"):
        build_clip_loader(config(INPUT__SOT__SAMPLER="clip", INPUT__SOT__REFERENCES=12))
    with pytest.raises(ValueError, match="INPUT.SOT.WEIGHTS"):
        build_clip_loader(config(INPUT__SOT__WEIGHTS=[1.0, 2.0]))
    with pytest.raises(ValueError, match="SOLVER.IMS_PER_BATCH"):
        build_clip_loader(config(SOLVER__IMS_PER_BATCH=0))
    with pytest.raises(ValueError, match="shapes_ow_train"):
        build_clip_loader(config(DATASETS__TRAIN=("shapes_ow_train",)))


def test_sequences_that_give_no_sample_are_replaced(names, folders):
    # boxes beyond the image: every other sequence fails
    good = read_layout("got10k", folders["got10k"])
    bad = [TargetSequence(name=f"off-{n}", files=g.files, boxes=g.boxes + 5000) for n, g in enumerate(good)]
    for name, sequences in {"sot_half": [*good, *bad], "sot_none": bad}.items():
        register_sequences(name, lambda sequences=sequences: sequences)
    try:
        ids = [
            s["image_id"] for batch in take(build_clip_loader(config(DATASETS__TRAIN=("sot_half",))), 4) for s in batch
        ]
        assert all(name.startswith("rectangle") for name in ids)
        with pytest.raises(DatasetError, match="off-"):
            take(build_clip_loader(config(DATASETS__TRAIN=("sot_none",))), 1)
    finally:
        for name in ("sot_half", "sot_none"):
            DatasetCatalog.remove(name)
            MetadataCatalog.remove(name)
