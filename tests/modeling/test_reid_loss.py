"""The ReID losses against slow loops, and the RoIs they are computed on."""

import math

import pytest
import torch
import torch.distributed as dist
from detectron2.structures import Boxes, Instances
from helpers.messages import raises
from helpers.tiny_detector import objects

from effowt_d2.modeling.roi_heads import ReIDLoss, ReIDPair, ReIDSampler

KINDS = ("multi_positive", "unbiased")


def make_loss(kind="multi_positive", **changes) -> ReIDLoss:
    settings = dict(kind=kind, weight=0.25, aux_weight=1.0, aux_margin=0.1, aux_negatives_per_positive=3.0)
    return ReIDLoss(**{**settings, **changes})


def make_pair(seed: int, key_ids, reference_ids, scale: float = 1.0) -> ReIDPair:
    generator = torch.Generator().manual_seed(seed)
    keys, references = (
        (scale * torch.randn(len(ids), 8, generator=generator)).requires_grad_() for ids in (key_ids, reference_ids)
    )
    return ReIDPair(keys, torch.tensor(key_ids, dtype=torch.int64), references, torch.tensor(reference_ids).long())


def pairs_of_a_batch():
    # the same id in two images is two objects; object 5 of the first key view is not in its reference
    return [
        make_pair(0, [0, -1, 0, 1, 2, 5], [0, 1, 1, 2, 0, -1, -1, 3]),
        make_pair(1, [0, 7], [7, 7, -1, 0, 4, -1, -1, -1, -1, -1, -1]),
    ]


def dot(a, b) -> float:
    return sum(x * y for x, y in zip(a, b))


def loop_contrastive(kind: str, pairs) -> float:
    losses = []
    for keys, key_ids, references, reference_ids in pairs:
        for v, i in zip(keys.tolist(), key_ids.tolist()):
            ids = reference_ids.tolist()
            own = [dot(v, r) for r, j in zip(references.tolist(), ids) if i == j >= 0]
            others = [dot(v, r) for r, j in zip(references.tolist(), ids) if i != j]
            if not own:
                continue
            if kind == "multi_positive":
                losses.append(math.log(1 + sum(math.exp(n - p) for p in own for n in others)))
            else:
                below = sum(map(math.exp, own)) / len(own) + sum(map(math.exp, others))
                losses.append(-sum(math.log(math.exp(p) / below) for p in own) / len(own))
    return sum(losses) / len(losses)


def loop_auxiliary(pairs, margin: float, ratio: float) -> float:
    errors = []
    for keys, key_ids, references, reference_ids in pairs:
        own, others = [], []
        for v, i in zip(keys.tolist(), key_ids.tolist()):
            for r, j in zip(references.tolist(), reference_ids.tolist()):
                if i < 0:
                    continue
                cosine = dot(v, r) / math.sqrt(dot(v, v) * dot(r, r))
                if i == j:
                    own.append((cosine - 1) ** 2)
                else:
                    others.append(max(cosine - margin, 0) ** 2)
        errors += own + sorted(others, reverse=True)[: int(ratio * len(own))]
    return sum(errors) / len(errors)


@pytest.mark.parametrize("kind", KINDS)
def test_equals_a_double_loop(kind):
    pairs = pairs_of_a_batch()
    losses = make_loss(kind, aux_negatives_per_positive=1.5)(pairs)
    assert losses["loss_reid"].item() == pytest.approx(0.25 * loop_contrastive(kind, pairs), rel=1e-6)
    assert losses["loss_reid_aux"].item() == pytest.approx(loop_auxiliary(pairs, 0.1, 1.5), rel=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_order_of_rois_does_not_matter(kind):
    pairs = pairs_of_a_batch()
    turned = [ReIDPair(*(x.flip(0) for x in pair)) for pair in reversed(pairs)]
    first, second = make_loss(kind)(pairs), make_loss(kind)(turned)
    for name in first:
        torch.testing.assert_close(first[name], second[name], rtol=1e-6, atol=0)


@pytest.mark.parametrize("kind", KINDS)
def test_a_matched_pair_costs_less_than_a_shuffled_one(kind):
    ids = torch.arange(6)
    embeddings = 3 * torch.nn.functional.normalize(torch.randn(6, 8, generator=torch.Generator().manual_seed(2)))
    matched = make_loss(kind)([ReIDPair(embeddings, ids, embeddings, ids)])
    shuffled = make_loss(kind)([ReIDPair(embeddings, ids, embeddings, ids.roll(1))])
    for name in matched:
        assert matched[name] < 0.5 * shuffled[name]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("key_ids, reference_ids", [([0, 1], [2, -1, -1]), ([-1, -1], [-1, 0]), ([0], []), ([], [])])
def test_no_positive_is_zero_with_gradient(kind, key_ids, reference_ids):
    pair = make_pair(3, key_ids, reference_ids)
    losses = make_loss(kind)([pair])
    assert {name: value.item() for name, value in losses.items()} == {"loss_reid": 0.0, "loss_reid_aux": 0.0}
    sum(losses.values()).backward()
    assert not pair.keys.grad.any() and not pair.references.grad.any()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("scale", [0.0, 1e-6, 1e3])
def test_extreme_embeddings_stay_finite(kind, scale):
    pairs = [make_pair(4, [0, 1], [0, 1, -1, 0], scale), make_pair(5, [3], [3, 3], scale)]
    # the second pair has no negatives. Anomaly detection also sees a NaN that is masked away later
    with torch.autograd.detect_anomaly(check_nan=True):
        losses = make_loss(kind)(pairs)
        sum(losses.values()).backward()
    assert all(value.isfinite() for value in losses.values())
    for pair in pairs:
        assert pair.keys.grad.isfinite().all() and pair.references.grad.isfinite().all()
        # a bound on what one RoI can do to the weights
        assert pair.keys.grad.norm() < 1e4


def test_gradient_pulls_positives_together_and_negatives_apart():
    pair = make_pair(6, [0], [0, 1])
    make_loss(aux_weight=0.0)([pair])["loss_reid"].backward()
    key = pair.keys.detach()[0]
    assert dot(pair.references.grad[0], key) < 0 < dot(pair.references.grad[1], key)


def test_unknown_loss_is_named():
    with raises(ValueError, "kind", "triplet", "multi_positive", "unbiased"):
        make_loss("triplet")


def make_sampler(**changes) -> ReIDSampler:
    settings = dict(
        batch_size=16, positive_fraction=0.5, negatives_per_positive=3.0, positive_iou=0.7, negative_iou=0.3
    )
    return ReIDSampler(**{**settings, **changes})


def make_proposals(boxes) -> Instances:
    return Instances((100, 100), proposal_boxes=Boxes(torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4)))


def test_rois_carry_the_ids_of_their_objects():
    targets = objects([(10, 10, 30, 30), (50, 50, 90, 90)], (100, 100), ids=[4, 9])
    proposals = make_proposals(
        [
            (10, 10, 30, 29),  # on the first object
            (52, 50, 90, 90),  # on the second
            (10, 10, 30, 20),  # IoU 0.5: in doubt
            (0, 60, 20, 90),  # background
        ]
    )
    boxes, ids = make_sampler()(proposals, targets)
    drawn = sorted((tuple(box), i) for box, i in zip(boxes.tensor.tolist(), ids.tolist()))
    assert drawn == [
        ((0, 60, 20, 90), -1),
        ((10, 10, 30, 29), 4),
        ((10, 10, 30, 30), 4),
        ((50, 50, 90, 90), 9),
        ((52, 50, 90, 90), 9),
    ]


def test_objects_of_unknown_id_are_not_drawn_at_all():
    targets = objects([(10, 10, 30, 30), (50, 50, 90, 90)], (100, 100), ids=[-1, 3])
    boxes, ids = make_sampler()(make_proposals([(10, 10, 30, 29), (0, 60, 20, 90)]), targets)
    assert boxes.tensor[:, :2].tolist() == [[50, 50], [0, 60]] and ids.tolist() == [3, -1]


def test_limits_of_the_sample():
    torch.manual_seed(0)
    targets = objects([(0, 0, 40, 40)], (100, 100))
    background = [(60, 60 - 0.1 * i, 90, 90) for i in range(60)]
    on_object = [(0, 0, 40, 40 - 0.1 * i) for i in range(60)]
    for proposals, expected in [
        (on_object + background, (8, 8)),  # half positive
        (on_object[:1] + background, (2, 6)),  # 3 negatives per positive
        (on_object, (8, 0)),
    ]:
        _, ids = make_sampler()(make_proposals(proposals), targets)
        assert ((ids == 0).sum().item(), (ids == -1).sum().item()) == expected


def test_views_without_objects_or_proposals():
    boxes, ids = make_sampler()(make_proposals([(0, 0, 9, 9)]), objects([], (100, 100)))
    assert len(boxes) == 0 and ids.shape == (0,) and ids.dtype == torch.int64
    boxes, ids = make_sampler()(make_proposals([]), objects([(1, 1, 2, 2)], (100, 100), ids=[6]))
    assert boxes.tensor.tolist() == [[1, 1, 2, 2]] and ids.tolist() == [6]


@pytest.mark.parametrize(
    "changes, data",
    [(dict(negative_iou=0.8), ("negative_iou", 0.8)), (dict(positive_fraction=1.5), ("positive_fraction", 1.5))],
)
def test_bad_settings_of_the_sampler(changes, data):
    with raises(ValueError, *data):
        make_sampler(**changes)


def one_of_two_processes(rank: int, folder: str) -> None:
    dist.init_process_group("gloo", init_method=f"file://{folder}/meet", world_size=2, rank=rank)
    pair = pairs_of_a_batch()[rank]
    losses = make_loss()([pair])
    sum(losses.values()).backward()
    losses = {name: value.item() for name, value in losses.items()}
    torch.save({"losses": losses, "gradient": pair.keys.grad}, f"{folder}/{rank}.pt")
    dist.destroy_process_group()


def test_two_processes_have_the_mean_of_one(tmp_path):
    # 4 keys with a positive in one process and 1 in the other: the mean of their means would be another number
    torch.multiprocessing.spawn(one_of_two_processes, args=(str(tmp_path),), nprocs=2)
    pairs = pairs_of_a_batch()
    losses = make_loss()(pairs)
    sum(losses.values()).backward()
    ranks = [torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in (0, 1)]
    for name, value in losses.items():
        assert sum(rank["losses"][name] for rank in ranks) / 2 == pytest.approx(value.item(), rel=1e-6)
    for pair, rank in zip(pairs, ranks):
        torch.testing.assert_close(rank["gradient"] / 2, pair.keys.grad)
