"""What several tests share: small models and datasets, made files, programs that tests start."""

import os
from pathlib import Path

import pytest

FOLDER = Path(__file__).parent
ROOT = FOLDER.parents[1]


def shared_data(*parts: str) -> Path:
    """A file of the real data beside the checkout, or below $EFFOWT_D2_SHARED_DATA; the test is skipped without it."""
    path = Path(os.environ.get("EFFOWT_D2_SHARED_DATA") or ROOT.parent / "shared" / "data").joinpath(*parts)
    if not path.exists():
        pytest.skip(f"real data not here: {path}; set EFFOWT_D2_SHARED_DATA")
    return path
