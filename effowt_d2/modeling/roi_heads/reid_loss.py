"""Contrastive losses of the ReID embedding.

Letters: K key RoIs [v], R reference RoIs of the same image, P positives (the key's own object) and N negatives
(other objects and background) among them, E embedding channels. Everything is computed in float32.
"""

from typing import NamedTuple

import torch
import torch.distributed as dist
import torch.nn.functional as F
from detectron2.config import configurable
from detectron2.utils import comm
from torch import Tensor

from effowt_d2.utils.checks import check_choice, check_number

__all__ = ["CONTRASTIVE_LOSSES", "ReIDLoss", "ReIDPair", "cosine_errors", "match", "multi_positive", "unbiased"]


class ReIDPair(NamedTuple):
    """The RoIs of two views of one image; ids below 0 are background."""

    keys: Tensor  # (K, E)
    key_ids: Tensor  # (K,) int64
    references: Tensor  # (R, E)
    reference_ids: Tensor  # (R,) int64


def match(key_ids: Tensor, reference_ids: Tensor) -> tuple[Tensor, Tensor]:
    """Positive and negative pairs, both (K, R) bool. A background key is in no pair."""
    same = key_ids[:, None] == reference_ids[None]
    on_object = (key_ids >= 0)[:, None]
    return same & on_object, ~same & on_object


def multi_positive(similarity: Tensor, positive: Tensor, negative: Tensor) -> Tensor:
    """log(1 + sum_p sum_n exp(v.n - v.p)) per key with a positive (QDTrack).

    Args:
        similarity: (K, R) dot products.
        positive, negative: (K, R) bool.

    Returns:
        (K',) losses of the K' keys that have a positive.
    """
    similarity, positive, negative = _with_positive(similarity, positive, negative)
    # the double sum is the product of sum_n exp(v.n) and sum_p exp(-v.p)
    return F.softplus(_logsumexp(similarity, negative) + _logsumexp(-similarity, positive))


def unbiased(similarity: Tensor, positive: Tensor, negative: Tensor) -> Tensor:
    """-(1/|P|) sum_p log(e^{v.p} / ((1/|P|) sum_{p'} e^{v.p'} + sum_n e^{v.n})) per key with a positive (OVTrack).

    Arguments and result as in :func:`multi_positive`.
    """
    similarity, positive, negative = _with_positive(similarity, positive, negative)
    count = positive.sum(1)
    mean_positive = _logsumexp(similarity, positive) - count.log()
    own = (similarity * positive).sum(1) / count
    return torch.logaddexp(mean_positive, _logsumexp(similarity, negative)) - own


CONTRASTIVE_LOSSES = {"multi_positive": multi_positive, "unbiased": unbiased}


def cosine_errors(
    cosine: Tensor, positive: Tensor, negative: Tensor, margin: float, negatives_per_positive: float
) -> Tensor:
    """Squared errors of the cosines: against 1 for positives, above the margin for the hardest negatives.

    Args:
        cosine: (K, R).
        positive, negative: (K, R) bool.
        margin: negatives cost nothing up to this cosine.
        negatives_per_positive: negatives that count, per positive.

    Returns:
        (P + N',) errors; none if there is no positive.
    """
    own = (1 - cosine[positive]).square()
    others = (cosine[negative] - margin).clamp(min=0).square()
    hardest, _ = others.topk(min(len(others), int(negatives_per_positive * len(own))))
    return torch.cat([own, hardest])


class ReIDLoss:
    """The losses of a batch of view pairs: means over the keys that have a positive, whatever pair they are from and
    whatever process it is on; every process calls this.

    Args:
        kind: ``multi_positive`` or ``unbiased``.
        weight: of the contrastive loss.
        aux_weight: of the squared cosine errors.
        aux_margin, aux_negatives_per_positive: see :func:`cosine_errors`.

    Raises:
        ValueError: unknown kind, or a number out of range.
    """

    @configurable
    def __init__(
        self,
        *,
        kind: str = "multi_positive",
        weight: float = 0.25,
        aux_weight: float = 1.0,
        aux_margin: float = 0.1,
        aux_negatives_per_positive: float = 3.0,
    ):
        self.contrastive = CONTRASTIVE_LOSSES[check_choice("kind", kind, CONTRASTIVE_LOSSES)]
        self.weight = check_number("weight", weight)
        self.aux_weight = check_number("aux_weight", aux_weight)
        self.aux_margin = check_number("aux_margin", aux_margin, -1.0, 1.0)
        self.aux_negatives_per_positive = check_number("aux_negatives_per_positive", aux_negatives_per_positive)

    @classmethod
    def from_config(cls, cfg):
        reid = cfg.MODEL.REID
        return {
            "kind": reid.LOSS,
            "weight": reid.LOSS_WEIGHT,
            "aux_weight": reid.AUX_WEIGHT,
            "aux_margin": reid.AUX_MARGIN,
            "aux_negatives_per_positive": reid.AUX_NEGATIVES_PER_POSITIVE,
        }

    def __call__(self, pairs: list[ReIDPair]) -> dict[str, Tensor]:
        """
        Args:
            pairs: at least one; any of them may be empty.

        Returns:
            ``loss_reid`` and ``loss_reid_aux``, scalars with a graph to every embedding: 0 without a positive.
        """
        contrastive, errors = [], []
        # half precision has neither the range of exp nor the resolution of its sums
        with torch.autocast(pairs[0].keys.device.type, enabled=False):
            for pair in pairs:
                keys, references = pair.keys.float(), pair.references.float()
                positive, negative = match(pair.key_ids, pair.reference_ids)
                contrastive.append(self.contrastive(keys @ references.T, positive, negative))
                cosine = _normalize(keys) @ _normalize(references).T
                errors.append(
                    cosine_errors(cosine, positive, negative, self.aux_margin, self.aux_negatives_per_positive)
                )
            contrastive, errors = _means(torch.cat(contrastive), torch.cat(errors))
            return {"loss_reid": contrastive * self.weight, "loss_reid_aux": errors * self.aux_weight}


def _with_positive(similarity: Tensor, positive: Tensor, negative: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    rows = positive.any(1)
    return similarity[rows], positive[rows], negative[rows]


def _logsumexp(x: Tensor, mask: Tensor) -> Tensor:
    """log sum exp over the true entries of each row; a huge negative number, without NaN in its gradient, if none."""
    return x.masked_fill(~mask, torch.finfo(x.dtype).min).logsumexp(1)


def _normalize(x: Tensor) -> Tensor:
    # the floor bounds the gradient of an embedding that is all zero, as dead units can make it
    return F.normalize(x, dim=1, eps=1e-3)


def _means(*groups: Tensor) -> list[Tensor]:
    """The mean of each group (N,) over all processes' values: each divides its own sum by the count that they have on
    average, so that the mean over the processes is that of one process with all of them. 0 for no values."""
    counts = torch.tensor([float(len(values)) for values in groups], device=groups[0].device)
    if comm.get_world_size() > 1:
        dist.all_reduce(counts)
        counts /= comm.get_world_size()
    counts = counts.masked_fill(counts == 0, 1)
    return [values.sum() / count for values, count in zip(groups, counts)]
