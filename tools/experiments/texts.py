"""Text of the results page that does not depend on the scores."""

from collections.abc import Sequence

__all__ = ["INTRO", "limits"]

INTRO = """# Results

Generated from [results/runs.csv](results/runs.csv) and [results/curves.csv](results/curves.csv) by `make results`; the
runs are those of configs/experiments.yaml (`make experiments`). OWTA, D.Re and A.Acc in percent, at most 300 results an
image, on ShapesOW val unless noted.

Cells are mean ± sample standard deviation over n seeds. Differences are paired by seed, with their n in brackets.
*No difference*: not larger than its own standard deviation. *Hint*: larger, but its 95 % interval (Student's t) contains
zero; two equal configurations give a hint in 39 % of cases with two seeds, 23 % with three.
"""

_LIMITS = """## Limits

- **Synthetic data.** ShapesOW is rendered; only the outline separates known from unknown. It does not rank strategies on TAO-OW.
- **Small tower.** ShapesCLIP-S-16 (2.85 M parameters) has seen captions of the unknown shapes too. The heads hold most
  trained parameters, so ratios of memory and parameters differ from those of a large tower.
- **Short training.** {steps}; overfitting to known classes may need longer.
- **Few seeds.** Spreads of two or three runs are uncertain; some of many comparisons exceed theirs by chance.
- **Processors** change the order of sums, which changes scores as much as another seed. Revision 722597e (a commit; the
  others are digests of the code) ran on an Intel Xeon, the others on an AMD EPYC.
- **Learning rates** were searched on the test split with one seed, for strategies and for what trains inside the tower; all side
  network variants share one, also with LoRA, experts or adapters in the tower.
"""


def limits(steps: Sequence[int]) -> str:
    """The section on the limits of the results.

    Args:
        steps: lengths of the trainings; empty before there are any.
    """
    return _LIMITS.format(steps=f"Runs of {' and '.join(map(str, steps))} steps" if steps else "Runs are short")
