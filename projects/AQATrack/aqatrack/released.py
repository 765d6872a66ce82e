"""Names of the released AQATrack checkpoints."""

import re

__all__ = ["own_name"]

_DECODER = re.compile(r"transformer_dec\.decoder\.(.+)")
_PARTS = {"self_attn": "temporal", "multihead_attn": "cross"}
_IDLE = re.compile(r"query_embed\.weight|position_encoding\.(row|col)_embed\.weight")


def own_name(name: str) -> str | None:
    """The name here of a tensor outside of tower and head; "" for one that reaches no output there, None for a foreign one.

    The query embedding is dropped on its way there, and the position encoding is one vector added to all keys, which the
    softmax cancels.
    """
    if _IDLE.fullmatch(name):
        return ""
    decoder = _DECODER.fullmatch(name)
    if decoder is None:
        return None
    parts = [_PARTS.get(part, part) for part in decoder[1].split(".")]
    return "decoder." + ".".join(parts)
