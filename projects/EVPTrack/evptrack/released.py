"""Names of the released EVPTrack checkpoints."""

import re

__all__ = ["own_name"]

# convolutions by their patch size, in the order of the prompts
_PATCHES = {"18": 0, "16": 1, "14": 2}
_PATCH = re.compile(r"backbone\.patch_embed(18|16|14)\.proj\.(weight|bias)")
_PART = re.compile(r"backbone\.(STE_norm|STE|MSPG|STPG)\.(.+)")
_PARTS = {"STE_norm": "ste.norm", "STE": "ste.blocks.0", "MSPG": "ms.project", "STPG": "st.project"}


def own_name(name: str) -> str | None:
    """The name here of a tensor outside of trunk and head; None for another one."""
    if patch := _PATCH.fullmatch(name):
        return f"backbone.ms.patches.{_PATCHES[patch[1]]}.{patch[2]}"
    part = _PART.fullmatch(name)
    return f"backbone.{_PARTS[part[1]]}.{part[2]}" if part else None
