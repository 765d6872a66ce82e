"""Hooks of MkDocs, named in mkdocs.yml: pages from outside docs/, links to them, reference pages, formulas."""

import html
import posixpath
import re
from pathlib import Path

from latex2mathml.converter import convert
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.plugins import event_priority
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page
from reference_pages import CONFIG_PAGE, find_packages, index_page, package_page

ROOT = Path(__file__).resolve().parents[2]
OUTSIDE = (
    "README.md",
    "CHANGELOG.md",
    "CITATION.cff",
    "CONTRIBUTING.md",
    "LICENSE",
    "configs/experiments.yaml",
    "demo/README.md",
)
"""Files outside docs/ that the pages link to, beside the projects' READMEs."""

READMES = sorted(ROOT.glob("projects/*/README.md"))
LINK = re.compile(r"(?<=\]\()(?![a-z]+:|#)([^)#\s]+)")
FORMULA = re.compile(r'<(span|div) class="arithmatex">\\[(\[](.*?)\\[)\]]</\1>', re.S)
ROLE = re.compile(r":(?:attr|class|data|func|meth|mod):(?=<code>)")
DIRECTIVE = re.compile(r"<p>\.\. code-block:: python</p>\s*")


@event_priority(50)  # before mkdocstrings reads its own
def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Add the projects and the reference pages to the navigation, and the projects to the sources of mkdocstrings."""
    sections = {title: pages for item in config.nav for title, pages in item.items()}
    sections["Projects"] += [readme.relative_to(ROOT).as_posix() for readme in READMES]
    names = ((package.name.removeprefix("effowt_d2."), package.page) for package in find_packages(ROOT))
    sections["Reference"] += [{name: page} for name, page in names]
    config.plugins["mkdocstrings"].config.handlers["python"]["paths"] += [str(readme.parent) for readme in READMES]
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add files from outside docs/ under their path in the repository, and the reference pages."""
    for path in [*(ROOT / name for name in OUTSIDE), *READMES]:
        files.append(File.generated(config, path.relative_to(ROOT).as_posix(), abs_src_path=str(path)))
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
