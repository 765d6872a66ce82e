"""What the page of results says that does not depend on the scores."""

from collections.abc import Sequence

__all__ = ["INTRO", "limits"]

INTRO = """# What the experiments show

Made from [results/runs.csv](results/runs.csv) and [results/curves.csv](results/curves.csv) by `make results`. The
runs are those of configs/experiments.yaml (`make experiments`); every row of the CSV names its config, keys, seed and
revision, a digest of the code (722597e, of the first runs, was the name of a commit). Scores are OWTA, D.Re and A.Acc
in percent with at most 300 results an image, on ShapesOW val unless a table says otherwise.

Known and unknown are the groups of the dataset. A cell is mean ± sample standard deviation (number of seeds).
Differences are paired: the same seed with both configurations. One that is not larger than its own standard deviation
over the seeds is called "no difference seen". One that is, but whose 95 % interval (Student's t) holds zero, is "a
hint": of two equal configurations 39 % give one by chance with two seeds, 23 % with three.
"""

_LIMITS = """## Limits

- **Synthetic data.** ShapesOW is drawn: bright, textured shapes on clutter, annotated exhaustively. What separates
  known from unknown there is the outline alone. Nothing here says how the strategies compare on TAO-OW.
- **A small tower.** ShapesCLIP-S-16 (2.85 M parameters, 6 blocks) has learned from captioned pictures of the same
  kind, unknown shapes included. The heads hold most of the trained parameters, so ratios of memory and parameters are
  not those of a large tower.
- **Short training.** {steps}. After a long training a switch can do something else, and overfitting to the known
  classes needs time to show.
- **Few seeds.** Spreads of two or three runs are themselves uncertain, and of many comparisons some exceed theirs by
  chance.
- **Machines.** On another kind of processor sums come in another order, and the same run ends elsewhere, by as much as
  with another seed. The rows of 722597e are of an Intel Xeon, the others of an AMD EPYC.
- **Learning rates** were chosen on the test split by the small search above, for the strategies only; all variants of
  the side network share its rate.
- **Seconds** in the table of runs depend on what else the machine did. Training memory (weights, gradients, optimizer,
  and what autograd saves) is a sum of bytes and does not.
"""


def limits(steps: Sequence[int]) -> str:
    """The section on what the results don't show.

    Args:
        steps: lengths of the trainings; empty before there are any.
    """
    return _LIMITS.format(steps=f"Runs of {' and '.join(map(str, steps))} steps" if steps else "Runs are short")
