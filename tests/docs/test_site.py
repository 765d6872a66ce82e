"""The documentation builds as a site without a warning, and its pages hold what the hooks add."""

import pytest
from helpers import ROOT
from helpers.processes import environment, run_python

pytest.importorskip("mkdocs", reason="pip install 'effowt_d2[docs]'")


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("site")
    run_python(
        "-m", "mkdocs", "build", "--strict", "--site-dir", folder, cwd=ROOT, env=environment(NO_MKDOCS_2_WARNING="1")
    )
    return folder


@pytest.mark.slow
def test_the_site_builds(site):
    read = lambda page: (site / page / "index.html").read_text(encoding="utf-8")  # noqa: E731
    assert 'href="methods/effowt/"' in read(".") and 'src="images/cups.webp"' in read(".")
    assert 'href="../projects/SOT/#one-pass-evaluation"' in read("evaluate")
    assert "<math" in read("evaluate") and "arithmatex" not in read("evaluate")
    assert 'id="effowt_d2.VideoTracker.track"' in read("reference/effowt_d2")
    assert "cfg" in read("reference/config") and "TAO_OW" in read("reference/config")
    for page in ("reference/effowt_d2", "reference/effowt_d2.tracking"):
        assert ".. code-block" not in read(page) and ":meth:" not in read(page)
