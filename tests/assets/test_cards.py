"""Model cards: found beside weights, and their warning for real video."""

import json

import pytest
from helpers.messages import assert_says, raises

from effowt_d2.assets.cards import ModelCard, read_card
from effowt_d2.assets.paths import PREFIX, shipped_names


@pytest.mark.parametrize("name", shipped_names())
def test_shipped_weights_say_whether_they_saw_photographs(name):
    card = read_card(f"{PREFIX}{name}")
    assert name in card.name and card.photographs == ("real" in name.lower())
    if card.photographs:
        assert card.notice() is None
    else:
        assert_says(card.notice(), card.name, card.training_data, card.more)
        assert "\n" not in card.notice()


def test_weights_without_a_card(tmp_path):
    assert read_card(str(tmp_path / "model.pth")) is None
    assert read_card("") is None and read_card("openclip://laion2b") is None


def test_a_card_beside_weights_of_ones_own(tmp_path):
    about = dict(name="mine", training_data="COCO", photographs=True)
    (tmp_path / "model.card.yaml").write_text(json.dumps(about))
    assert read_card(str(tmp_path / "model.pth")) == ModelCard(**about)
    assert ModelCard(**about).notice() is None


@pytest.mark.parametrize("content, data", [("{", []), ('{"name": "a"}', ["training_data"]), ("[]", ["object"])])
def test_a_file_that_is_no_card(tmp_path, content, data):
    (tmp_path / "model.card.yaml").write_text(content)
    with raises(ValueError, tmp_path / "model.card.yaml", *data):
        read_card(str(tmp_path / "model.pth"))
