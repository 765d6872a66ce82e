"""Links of the pages: every file, image and heading that they point to is there."""

import re

import pytest
from helpers import ROOT, pages


def targets(page):
    yield from (token.attrs["href"] for token in pages.inline(page, "link_open"))
    yield from (token.attrs["src"] for token in pages.inline(page, "image"))


@pytest.mark.parametrize("page", (*pages.PAGES, "CHANGELOG.md"))
def test_targets_are_there(page):
    lost = []
    for target in targets(page):
        if re.match(r"https?:", target):
            continue
        path, _, anchor = target.partition("#")
        file = (ROOT / page).parent / path if path else ROOT / page
        name = file.resolve().relative_to(ROOT).as_posix()
        if not file.is_file() or anchor and anchor not in pages.anchors(name):
            lost.append(target)
    assert not lost


def test_a_heading_is_an_anchor():
    assert "known-and-unknown-classes" in pages.anchors("docs/own_data.md")
    assert sum(len(list(targets(page))) for page in pages.PAGES) > 100
