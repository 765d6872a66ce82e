"""What several tests share: small models and datasets, made files, programs that tests start."""

from pathlib import Path

FOLDER = Path(__file__).parent
