"""Hooks of MkDocs, named in mkdocs.yml: pages from outside docs/, links to them, reference pages, formulas."""

import html
import posixpath
import re
from pathlib import Path

from latex2mathml.converter import convert
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page
from reference_pages import CONFIG_PAGE, find_packages, index_page, package_page

ROOT = Path(__file__).resolve().parents[2]
OUTSIDE = ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "CITATION.cff", "LICENSE", "configs/experiments.yaml")
"""Files that pages link to and that lie outside docs/, beside the READMEs of the demo and the projects."""

LINK = re.compile(r"(?<=\]\()(?![a-z]+:|#)([^)#\s]+)")
FORMULA = re.compile(r'<(span|div) class="arithmatex">\\[(\[](.*?)\\[)\]]</\1>', re.S)
ROLE = re.compile(r":(?:attr|class|data|func|meth|mod):(?=<code>)")
DIRECTIVE = re.compile(r"<p>\.\. code-block:: python</p>\s*")


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Add the reference pages to the navigation, below those that mkdocs.yml names."""
    (reference,) = (item["Reference"] for item in config.nav if "Reference" in item)
    reference += [{package.name.removeprefix("effowt_d2."): package.page} for package in find_packages(ROOT)]
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add files from outside docs/ under their path in the repository, and the reference pages."""
    readmes = [
        path.relative_to(ROOT).as_posix() for path in [*ROOT.glob("projects/*/README.md"), ROOT / "demo/README.md"]
    ]
    for name in [*OUTSIDE, *readmes]:
        files.append(File.generated(config, name, abs_src_path=str(ROOT / name)))
    packages = find_packages(ROOT)
    files.append(File.generated(config, "reference/index.md", content=index_page(packages)))
    files.append(File.generated(config, "reference/config.md", content=CONFIG_PAGE))
    for package in packages:
        files.append(File.generated(config, package.page, content=package_page(package)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Point the links of a page, which hold in the repository, to where their targets lie in the site."""
    if page.file.src_uri.startswith("reference/"):
        return markdown
    here = page.file.src_uri
    folder = posixpath.dirname(here if is_outside(page.file) else f"docs/{here}")

    def moved(match: re.Match) -> str:
        target = posixpath.normpath(posixpath.join(folder, match[1]))
        return posixpath.relpath(target.removeprefix("docs/"), posixpath.dirname(here) or ".")

    return LINK.sub(moved, markdown)


def is_outside(file: File) -> bool:
    """Whether a file of the site lies outside docs/."""
    return file.generated_by is not None


def on_page_content(content: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Make MathML of formulas, which browsers draw without a script, and take Sphinx's markup out of docstrings."""
    content = FORMULA.sub(as_mathml, content)
    return DIRECTIVE.sub("", ROLE.sub("", content)) if page.file.src_uri.startswith("reference/") else content


def as_mathml(match: re.Match) -> str:
    """A formula as ``pymdownx.arithmatex`` marks it, as MathML."""
    return convert(html.unescape(match[2]), display="inline" if match[1] == "span" else "block")
