"""A slow sparse interaction, token by token, straight from the definition."""

import torch
import torch.nn.functional as F

from effowt_d2.modeling.side import SparseInteraction, line_mix, line_sheet

LINE_OF = {
    "row": lambda i, j: i,
    "column": lambda i, j: j,
    "diagonal": lambda i, j: j - i,
    "antidiagonal": lambda i, j: i + j,
}


def build_sim(mixer=None, *, channels=4, randomise=True, interaction=SparseInteraction, **options):
    """A small float64 interaction with normal weights; ``options`` are those of its constructor."""
    torch.manual_seed(1)
    settings = {"mixer": mixer} if mixer is not None else {"groups": 2, "max_range": 3}
    sim = interaction(channels, **{**settings, **options}).double()
    if randomise:
        for parameter in sim.parameters():
            torch.nn.init.normal_(parameter)
    return sim


def small_blocks(monkeypatch):
    """Cut even small maps into several blocks of lines and several parts of groups."""
    monkeypatch.setattr(line_sheet, "MIN_LINES", 2)
    monkeypatch.setattr(line_mix, "SHEET_NUMBERS", 1)


def same_line(mixer, number, p, q):
    """Whether token p sees token q in mix ``number`` of a mixer along lines."""
    line = LINE_OF[mixer.axes[number]]
    return line(*p) == line(*q)


def position(mixer, number, p):
    """Where token p stands on its line."""
    return p[1] if mixer.axes[number] == "row" else p[0]


def table_weight(mixer, number, group, p, q):
    """The weight with which p sees q, where it depends on their offset."""
    reach = mixer.max_range - 1
    offset = position(mixer, number, q) - position(mixer, number, p)
    return mixer.tables()[number, group, min(max(offset, -reach), reach) + reach].item()


def loop_mixes(mixer, x, mask, *, sees=same_line, weight=table_weight):
    """All mixes, (mixes, B, H, W, C)."""
    b, h, w, channels = x.shape
    per_group = channels // mixer.groups
    tokens = [(i, j) for i in range(h) for j in range(w)]
    out = torch.zeros(mixer.num_mixes, *x.shape, dtype=x.dtype)
    for number in range(mixer.num_mixes):
        for p in tokens:
            seen = [q for q in tokens if sees(mixer, number, p, q)]
            for image in range(b):
                valid = [q for q in seen if mask[image, q[0], q[1]]]
                for q in valid:
                    for g in range(mixer.groups):
                        c = slice(g * per_group, (g + 1) * per_group)
                        value = weight(mixer, number, g, p, q) * x[(image, *q, c)] / len(valid)
                        out[(number, image, *p, c)] += value
    return out


def loop_sum(sim, x, mask, **mixing):
    """What :class:`SparseInteraction` gives."""
    mixes = loop_mixes(sim.mixer, x, mask, **mixing)
    mixed = sim.scale[0] * x + sum(u * m for u, m in zip(sim.scale[1:], mixes))
    return sim.linear(F.gelu(mixed)) * mask.unsqueeze(-1)
