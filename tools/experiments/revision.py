"""Digest of the code that a run uses."""

import hashlib
from pathlib import Path

__all__ = ["find_revision"]

_SUFFIXES = (".py", ".yaml", ".json", ".pt")


def find_revision(root: Path) -> str:
    """The first seven digits of a SHA-256 over what a training executes, names and bytes.

    That is train_net.py, configs/ and effowt_d2/ with the embedded tower, but for the plan of the runs, which does not
    change results. Unlike a commit's name it outlives a squashed history, tells uncommitted changes, and needs no git.

    Args:
        root: of the checkout.
    """
    files = [root / "train_net.py"]
    for folder in ("effowt_d2", "configs"):
        files += [path for path in (root / folder).rglob("*") if path.suffix in _SUFFIXES]
    digest = hashlib.sha256()
    for path in sorted(files):
        if path == root / "configs" / "experiments.yaml":
            continue
        data = path.read_bytes()
        digest.update(f"{path.relative_to(root).as_posix()}\0{len(data)}\0".encode() + data)
    return digest.hexdigest()[:7]
