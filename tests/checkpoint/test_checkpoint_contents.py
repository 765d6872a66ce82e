"""What is in a checkpoint, and that a model is the same after it was loaded again."""

import os

import pytest
import torch
from detectron2.solver import LRMultiplier, WarmupParamScheduler
from fvcore.common.param_scheduler import ConstantParamScheduler
from helpers.messages import raises
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from effowt_d2.checkpoint import EffOWTCheckpointer


def read(file):
    return torch.load(file, weights_only=True)


def test_holds_all_that_trains_with_its_buffers_and_nothing_frozen(make_small, tmp_path):
    model = make_small()
    EffOWTCheckpointer(model, str(tmp_path), config="KEY: 1\n").save("model", iteration=7)
    data = read(tmp_path / "model.pth")
    expected = {key for key in model.state_dict() if key.startswith("head.")}
    assert set(data["model"]) == expected and "head.1.running_mean" in expected
    header = data["effowt"]
    assert header["config"] == "KEY: 1\n"
    assert header["towers"] == {"tower": {"name": "checkpoint-a", "weights_hash": model.tower.weights_hash()}}
    assert set(header["versions"]) == {"effowt_d2", "detectron2", "torch"}
    assert data["iteration"] == 7
    assert (tmp_path / "last_checkpoint").read_text() == "model.pth"
    assert sorted(os.listdir(tmp_path)) == ["last_checkpoint", "model.pth"]


def test_size_is_that_of_the_trained_tensors(make_tracker, tmp_path):
    model = make_tracker(1)
    EffOWTCheckpointer(model, str(tmp_path)).save("model")
    frozen = {f"backbone.tower.{key}" for key in model.backbone.tower.state_dict()}
    trained = [value for key, value in model.state_dict().items() if key not in frozen]
    overhead = (tmp_path / "model.pth").stat().st_size - sum(value.nbytes for value in trained)
    assert 0 < overhead < 500 * len(trained)


def test_a_view_is_saved_without_what_it_is_a_view_of(tmp_path):
    model = nn.Linear(4, 4)
    model.weight = nn.Parameter(torch.zeros(1000, 1000)[:4, :4])
    EffOWTCheckpointer(model, str(tmp_path)).save("model")
    assert (tmp_path / "model.pth").stat().st_size < 10_000


def test_reloaded_model_gives_bit_equal_outputs(make_tracker, tmp_path):
    model, other = make_tracker(1), make_tracker(2)
    image = torch.randint(0, 256, (3, 64, 96), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    still = {"image": image, "height": 64, "width": 96}
    inputs = [{**still, "state": model.start(), "frame_index": 0}]
    with torch.no_grad():
        expected = model(inputs)[0]["instances"]
        before = other([still])[0]["instances"]
    assert len(expected) and not torch.equal(expected.scores, before.scores)
    EffOWTCheckpointer(model, str(tmp_path)).save("model")
    EffOWTCheckpointer(other).load(str(tmp_path / "model.pth"))
    with torch.no_grad():
        found = other([dict(inputs[0], state=other.start())])[0]["instances"]
    assert torch.equal(found.pred_boxes.tensor, expected.pred_boxes.tensor)
    assert torch.equal(found.scores, expected.scores)
    assert torch.equal(found.track_ids, expected.track_ids)


def test_a_trained_tower_is_in_the_file(make_small, tmp_path):
    model, other = make_small(frozen=False), make_small(1, tower_seed=1, frozen=False)
    EffOWTCheckpointer(model, str(tmp_path)).save("model")
    assert set(read(tmp_path / "model.pth")["model"]) == set(model.state_dict())
    EffOWTCheckpointer(other).load(str(tmp_path / "model.pth"))
    assert other.tower.weights_hash() == model.tower.weights_hash()


def test_models_without_a_tower_are_saved_whole(tmp_path):
    model, other = nn.Linear(3, 3), nn.Linear(3, 3)
    EffOWTCheckpointer(model, str(tmp_path)).save("model")
    assert read(tmp_path / "model.pth")["effowt"]["towers"] == {}
    EffOWTCheckpointer(other).load(str(tmp_path / "model.pth"))
    assert torch.equal(other.weight, model.weight)


def training(model):
    optimizer = torch.optim.AdamW(model.head.parameters(), lr=0.1)
    factor = WarmupParamScheduler(ConstantParamScheduler(1.0), 0.1, 0.5)
    return optimizer, LRMultiplier(optimizer, factor, max_iter=20)


def steps(model, optimizer, scheduler, numbers):
    losses = []
    for number in numbers:
        images = torch.randn(4, 3, 64, 64, generator=torch.Generator().manual_seed(number))
        loss = model(images).tanh().square().sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        scheduler.step()
        losses.append(loss.item())
    return losses


def test_resume_continues_exactly(make_small, tmp_path):
    model = make_small()
    optimizer, scheduler = training(model)
    checkpointer = EffOWTCheckpointer(model, str(tmp_path), optimizer=optimizer, scheduler=scheduler)
    steps(model, optimizer, scheduler, range(3))
    checkpointer.save("model_0000002", iteration=2)
    expected = steps(model, optimizer, scheduler, range(3, 8))

    resumed = make_small(5)
    optimizer, scheduler = training(resumed)
    checkpointer = EffOWTCheckpointer(resumed, str(tmp_path), optimizer=optimizer, scheduler=scheduler)
    assert checkpointer.resume_or_load("", resume=True)["iteration"] == 2
    assert steps(resumed, optimizer, scheduler, range(3, 8)) == expected


def test_without_resume_only_the_model_is_loaded(make_small, tmp_path):
    model = make_small()
    optimizer, scheduler = training(model)
    steps(model, optimizer, scheduler, range(2))
    EffOWTCheckpointer(model, str(tmp_path), optimizer=optimizer).save("model")
    other = make_small(5)
    optimizer, _ = training(other)
    checkpointer = EffOWTCheckpointer(other, str(tmp_path), optimizer=optimizer)
    checkpointer.resume_or_load(str(tmp_path / "model.pth"), resume=False)
    assert torch.equal(other.head[0].weight, model.head[0].weight) and not optimizer.state


@pytest.fixture
def process_group(tmp_path):
    torch.distributed.init_process_group("gloo", init_method=f"file://{tmp_path}/meet", rank=0, world_size=1)
    yield
    torch.distributed.destroy_process_group()


def test_distributed_wrapping_leaves_no_trace(make_small, tmp_path, process_group):
    model, other = make_small(), make_small(1)
    EffOWTCheckpointer(DistributedDataParallel(model), str(tmp_path)).save("model")
    assert not [key for key in read(tmp_path / "model.pth")["model"] if key.startswith("module.")]
    EffOWTCheckpointer(DistributedDataParallel(other)).load(str(tmp_path / "model.pth"))
    assert torch.equal(other.head[0].weight, model.head[0].weight)


def test_other_processes_than_the_first_write_nothing(make_small, tmp_path):
    EffOWTCheckpointer(make_small(), str(tmp_path), save_to_disk=False).save("model")
    assert not list(tmp_path.iterdir())


def test_what_could_not_be_read_back_is_not_written(make_small, tmp_path):
    checkpointer = EffOWTCheckpointer(make_small(), str(tmp_path))
    with raises(TypeError, "hook.best", "SmallModel"):
        checkpointer.save("model", hook={"best": make_small()})
    assert not list(tmp_path.iterdir())


def test_numpy_values_are_converted(make_small, tmp_path):
    import numpy as np

    checkpointer = EffOWTCheckpointer(make_small(), str(tmp_path))
    checkpointer.save("model", best=np.float64(0.5), curve=np.arange(3))
    extra = checkpointer.load(str(tmp_path / "model.pth"))
    assert extra["best"] == 0.5 and extra["curve"].tolist() == [0, 1, 2]
