"""Model cards: what weights were trained on, in a file beside them."""

from pathlib import Path

import msgspec

from .paths import resolve_weights

__all__ = ["ModelCard", "read_card"]


class ModelCard(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Origin and limits of a model's weights.

    Attributes:
        name: of the model.
        training_data: what it was trained on, as a phrase.
        photographs: whether that covers photographs.
        more: where to read on.
    """

    name: str
    training_data: str
    photographs: bool
    more: str = ""

    def notice(self) -> str | None:
        """One line for those who track photographs; None where the training data covers them."""
        if self.photographs:
            return None
        more = f" ({self.more})" if self.more else ""
        return f"{self.name} was trained on {self.training_data}, not on photographs: expect errors on real video{more}"


def read_card(weights: str) -> ModelCard | None:
    """The card of a weights file: ``NAME.card.yaml`` beside ``NAME.pth``; None where there is none.

    Args:
        weights: a file, or ``effowt://NAME``.

    Raises:
        ValueError: the file is no card.
    """
    if not weights or ("://" in weights and not weights.startswith("effowt://")):
        return None
    card = Path(resolve_weights(weights)).with_suffix(".card.yaml")
    if not card.is_file():
        return None
    try:
        return msgspec.yaml.decode(card.read_bytes(), type=ModelCard)
    except msgspec.MsgspecError as error:
        raise ValueError(f"model card {card}: {error}") from error
