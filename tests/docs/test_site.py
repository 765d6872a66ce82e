"""The documentation builds as a site without a warning, and its pages hold what the hooks add."""

import pytest
from helpers import ROOT, pages
from helpers.processes import environment, run_python


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    pytest.importorskip("mkdocs", reason="pip install 'effowt_d2[docs]'")
    folder = tmp_path_factory.mktemp("site")
    env = environment(NO_MKDOCS_2_WARNING="1")
    run_python("-m", "mkdocs", "build", "--strict", "--site-dir", folder, cwd=ROOT, env=env)
    return lambda page: (folder / page / "index.html").read_text(encoding="utf-8")


@pytest.mark.slow
def test_the_site_builds(site):
    assert 'href="methods/effowt/"' in site(".") and 'src="images/cups.webp"' in site(".")
    assert 'href="../projects/SOT/#one-pass-evaluation"' in site("evaluate")
    assert "<math" in site("evaluate") and "arithmatex" not in site("evaluate")
    assert 'id="effowt_d2.VideoTracker.track"' in site("reference/effowt_d2")
    assert "cfg" in site("reference/config") and "TAO_OW" in site("reference/config")
    for page in ("reference/effowt_d2", "reference/effowt_d2.tracking"):
        assert ".. code-block" not in site(page) and ":meth:" not in site(page)


def test_the_navigation_has_every_page():
    navigation = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    named = [page.removeprefix("docs/") for page in pages.PAGES if not page.startswith("projects/")]
    assert not [page for page in named if f": {page}\n" not in navigation]
