"""The classifier with the release's adapters, reduction and sums against numbers recorded from the release."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from helpers.golden import below, golden, golden_manifest
from released_vit import FULL, SPARSE, TINY, released_classifier, weights_by_formula
from sparse_tuning.features import EmbeddingAgain

from effowt_d2.modeling.tower.hooks import BlockHook, attention_row

RUNS = {"r10": (1.0, True), "r07": (0.7, True), "r05": (0.5, True), "r07_nofuse": (0.7, False)}
ELSEWHERE = {"image", "adapter768/in", "adapter768/out"}
"""An input, and what tests/modeling/test_dense_adapter.py compares."""
CLOSE = {"atol": 1e-4, "rtol": 1e-5}


@pytest.fixture(scope="module")
def tensors():
    return golden("sparse_tuning/sparse_tuning")


@pytest.fixture(scope="module")
def weights(tensors):
    return {name: value.float() for name, value in below(tensors, "weights/").items()}


class Watch(BlockHook):
    """In front of all others: the attention of each block, and what a reduction keeps."""

    def __init__(self):
        self.attended, self.scores, self.kept = {}, {}, {}

    def after_attention(self, number, tokens, q, k):
        self.number, self.attended[number] = number, tokens.x
        self.scores[number] = attention_row(q[:, :, :1], k).mean(1)[:, 1:]

    def reduced(self, rows):
        places = torch.arange(self.attended[self.number].shape[1]).float()
        self.kept[self.number] = rows(places.expand(len(self.attended[self.number]), -1)[..., None])[..., 0]


class Comparison:
    """Runs block by block. The release keeps tokens in the order of their scores: ``rows`` finds its rows of ours."""

    def __init__(self, classifier, images, recorded):
        self.tower, self.recorded, self.compared = classifier.backbone.tower, recorded, set()
        tokens = self.tower.embed(images)
        peft, tokens_hook = (self.tower.companions[name].start() for name in ("peft", "tokens"))
        self.watch, self.peft = Watch(), peft
        again = EmbeddingAgain(tokens.x, 2)
        self.running = self.tower.pass_type(self.tower, tokens, [self.watch, peft, tokens_hook, again])
        self.rows = torch.arange(tokens.x.shape[1]).expand(len(images), -1)
        self.embedded = tokens.x

    def check(self, name, ours, rows=None):
        if name not in self.recorded:
            return
        theirs = self.recorded[name]
        theirs = theirs if rows is None else torch.take_along_dim(theirs, rows[..., None], 1)
        torch.testing.assert_close(ours, theirs, **CLOSE)
        self.compared.add(name)

    def check_chosen(self, name, number, fuse):
        ours, theirs = self.watch.kept[number].round().long(), self.recorded[name].long()
        count = theirs.shape[1]
        # of our kept tokens the rows that they had in the release, then their places there
        before = self.rows.gather(1, ours[:, 1 : 1 + count]) - 1
        assert torch.equal(before.sort(1)[0], theirs.sort(1)[0])
        places = (theirs[:, None] == before[..., None]).int().argmax(-1) + 1
        ends = [torch.zeros_like(places[:, :1])], [torch.full_like(places[:, :1], count + 1)] if fuse else []
        self.rows = torch.cat([*ends[0], places, *ends[1]], 1)
        self.compared.add(name)

    def run(self, fuse):
        for number in range(12):
            block, before = f"block{number:02d}.", self.running.tokens.x
            self.check(f"{block}in", before, self.rows)
            self.running.run(number)
            self.check(f"{block}attn_out", self.watch.attended[number] - before, self.rows)
            scores = f"{block}cls_scores"
            if scores in self.recorded:
                self.check(scores, self.watch.scores[number].gather(1, self.rows[:, 1:].argsort(1)))
            if number in self.watch.kept:
                self.check_chosen(f"{block}topk_idx", number, fuse)
            own, after = self.peft.earlier[number], self.running.tokens.x
            self.check(f"{block}adapter_out", own, self.rows)
            self.check(f"{block}adapter_in", self.fed[number], self.rows)
            summed = self.tower.companions["peft"].added(number, self.peft.earlier) - own
            self.check(f"{block}out", after - summed - (self.embedded if number == 2 else 0), self.rows)
        self.check("norm_in", self.running.tokens.x, self.rows)
        self.check("norm_out_cls", self.tower.finish(self.running.tokens.x[:, :1])[:, 0])

    def watch_feeds(self):
        """Adapters see what enters the MLPs."""
        self.fed, whole = {}, self.peft.beside_feed

        def watched(number, tokens):
            self.fed[number] = tokens.x
            return whole(number, tokens)

        self.peft.beside_feed = watched


@pytest.mark.parametrize("run", RUNS)
@torch.no_grad()
def test_every_recorded_tensor_of_a_run(tensors, weights, run):
    rate, fuse = RUNS[run]
    classifier = released_classifier(TINY, weights, size=32, dim=8, rates=[rate], fuse=fuse)
    comparison = Comparison(classifier, tensors["image"], below(tensors, f"{run}/"))
    comparison.watch_feeds()
    comparison.run(fuse)
    comparison.check("logits", classifier.logits(tensors["image"] * 255))
    assert comparison.compared == set(comparison.recorded)


@torch.no_grad()
def test_explicit_counts_are_rates(tensors, weights):
    rates = [20 / 64, 15 / 21, 9 / 16]
    classifier = released_classifier(TINY, weights, size=32, dim=8, rates=rates)
    logits = classifier.logits(tensors["image"] * 255)
    torch.testing.assert_close(logits, tensors["tokens_arg/logits"], **CLOSE)


def by_release(classifier, parameter):
    """Names of the trained parameters in the release's manner."""
    adapters = classifier.backbone.tower.companions["peft"].blocks
    names = {f"blocks.{n}.adaptmlp.{k}": p for n, block in enumerate(adapters) for k, p in block.named_parameters()}
    return {
        name: parameter(p)
        for name, p in {**names, **dict(classifier.head[-1].named_parameters(prefix="head.1"))}.items()
    }


def test_a_training_step(tensors, weights):
    recorded = below(tensors, "train/")
    classifier = released_classifier(TINY, weights, size=32, dim=8, norm=True)
    images = recorded["image"] * 255
    with torch.no_grad():
        compared = {"logits_eval_before": classifier.logits(images)}
    optimizer = torch.optim.AdamW(by_release(classifier, lambda p: p).values(), lr=5e-4, weight_decay=0.0)
    logits = classifier.train().logits(images)
    loss = F.cross_entropy(logits, recorded["soft_target"])
    loss.backward()
    compared.update(logits_train=logits.detach(), loss=loss.detach()[None])
    grads = by_release(classifier, lambda p: p.grad.clone())
    assert {name for name, p in classifier.named_parameters() if p.grad is not None} == {
        name for name, p in classifier.named_parameters() if p.requires_grad
    }
    optimizer.step()
    with torch.no_grad():
        compared["logits_eval_after"] = classifier.eval().logits(images)
    compared.update({f"grad/{name}": grad for name, grad in grads.items()})
    compared.update({f"after_step/{name}": p for name, p in by_release(classifier, lambda p: p.detach()).items()})
    norm = classifier.head[0]
    compared.update({f"after_step/head.0.{name}": getattr(norm, name) for name in ("running_mean", "running_var")})
    for name, theirs in recorded.items():
        if name in ("image", "soft_target"):
            continue
        ours, clear = compared[name], ...
        if name.startswith("after_step/") and "head.0" not in name:
            # AdamW turns a tiny gradient into a full step
            clear = grads[name.removeprefix("after_step/")].abs() > 1e-4
        torch.testing.assert_close(
            ours[clear], theirs[clear], atol=1e-4, rtol=1e-3, msg=lambda text, name=name: f"{name}: {text}"
        )


def test_nothing_else_is_recorded(tensors):
    prefixes = (*(f"{run}/" for run in RUNS), "weights/", "train/", "tokens_arg/", "full/")
    assert {name for name in tensors if not name.startswith(prefixes)} == ELSEWHERE
    assert {name for name in below(tensors, "tokens_arg/")} == {"logits"}


@pytest.mark.slow
@torch.no_grad()
def test_a_vit_b(tensors):
    recorded = below(tensors, "full/")
    shapes = golden_manifest("sparse_tuning")["state_dict_vit_b16"]
    classifier = released_classifier(FULL, weights_by_formula(shapes), size=224, dim=32)
    image = torch.from_numpy(np.random.RandomState(6998).standard_normal((1, 3, 224, 224)).astype(np.float32))
    comparison = Comparison(classifier, image, {})
    comparison.watch_feeds()
    rows, compared = comparison.rows, set()
    for number in range(12):
        comparison.running.run(number)
        if number in SPARSE:
            block = below(recorded, f"block{number:02d}.")
            scores, kept = comparison.watch.scores[number], comparison.watch.kept[number].round().long()
            torch.testing.assert_close(
                scores.gather(1, rows[:, 1:].argsort(1)), block["cls_scores"], atol=1e-6, rtol=1e-3
            )
            theirs = block["topk_idx"].long()
            before = rows.gather(1, kept[:, 1:-1]) - 1
            assert torch.equal(before.sort(1)[0], theirs.sort(1)[0])
            torch.testing.assert_close(comparison.fed[number][:, -1], block["fused_token"], atol=2e-3, rtol=1e-3)
            places = (theirs[:, None] == before[..., None]).int().argmax(-1) + 1
            rows = torch.cat([places.new_zeros(1, 1), places, places.new_full((1, 1), theirs.shape[1] + 1)], 1)
            compared |= {f"block{number:02d}.{name}" for name in block}
    out = comparison.tower.finish(comparison.running.tokens.x[:, :1])[:, 0]
    torch.testing.assert_close(out, recorded["norm_out_cls"], atol=2e-3, rtol=1e-3)
    torch.testing.assert_close(classifier.head(out), recorded["logits"], atol=2e-3, rtol=0)
    assert compared | {"norm_out_cls", "logits"} == set(recorded)
