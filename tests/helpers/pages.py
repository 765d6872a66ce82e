"""The Markdown pages: their code blocks, inline code, headings and links, as a CommonMark parser reads them.

A block that no test runs has a comment in front of it: ``<!-- not run: REASON -->``, or
``<!-- not run (PROGRAM, ...): REASON -->`` for those of its commands that start one of these programs.
"""

import ast
import functools
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass

from markdown_it import MarkdownIt
from markdown_it.token import Token

from helpers import ROOT

PAGES = (
    "README.md",
    "CONTRIBUTING.md",
    "demo/README.md",
    *sorted(path.relative_to(ROOT).as_posix() for path in ROOT.glob("docs/**/*.md")),
    *sorted(path.relative_to(ROOT).as_posix() for path in ROOT.glob("projects/*/README.md")),
)
PROGRAMS = ("effowt-track", "make", "pip", "pytest", "python", "torchrun")
MARK = re.compile(r"<!-- not run(?: \((?P<programs>[^)]+)\))?: (?P<reason>\S.*?) -->\s*")


@dataclass(frozen=True)
class Block:
    """A code block.

    Attributes:
        page: path in the repository.
        line: its first line, from 1.
        kind: "python", "commands", "yaml", "mermaid", or "text" for drawings, formulas and samples of files.
        text: what is in it.
        skipped: programs whose commands are not run; all of them for the whole block.
    """

    page: str
    line: int
    kind: str
    text: str
    skipped: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"

    def commands(self) -> Iterator[tuple[list[str], bool]]:
        """Each command as words, without variables in front, and whether it is run."""
        for line in self.text.replace("\\\n", " ").splitlines():
            words = shlex.split(line, comments=True)
            while words and re.match(r"[A-Z_]+=", words[0]):
                words = words[1:]
            if words:
                yield words, not {*self.skipped} & {words[0], *words[1:2], "*"}


@functools.cache
def tokens(page: str) -> list[Token]:
    return MarkdownIt("commonmark").enable("table").parse((ROOT / page).read_text(encoding="utf-8"))


def blocks(page: str) -> list[Block]:
    """The code blocks of a page in order."""
    found = []
    for before, token in zip([None, *tokens(page)], tokens(page)):
        if token.type in ("fence", "code_block"):
            mark = MARK.fullmatch(before.content) if before is not None and before.type == "html_block" else None
            skipped = re.split(r",\s*", mark["programs"] or "*") if mark else ()
            kind = _kind(token)
            found.append(Block(page, token.map[0] + 1, kind, token.content, tuple(skipped)))
    return found


def marks(page: str) -> int:
    """How many comments on a page are meant to mark a block, wherever they are and however they are written."""
    comments = [*inline(page, "html_inline"), *(token for token in tokens(page) if token.type == "html_block")]
    return sum(bool(re.search(r"<!--\s*not", token.content)) for token in comments)


def _kind(token: Token) -> str:
    if token.info in ("python", "yaml", "mermaid"):
        return token.info
    words = shlex.split(re.sub(r"^(\w+=\S+ )+", "", token.content.splitlines()[0]), comments=True, posix=False)
    if words and words[0] in PROGRAMS:
        return "commands"
    assert token.info == "" or token.info == "text", f"a block of {token.info} that is none: {token.content}"
    try:
        nodes = list(ast.walk(ast.parse(token.content)))
    except SyntaxError:
        return "text"
    return "python" if any(isinstance(node, (ast.Call, ast.Import, ast.ImportFrom)) for node in nodes) else "text"


def inline(page: str, kind: str) -> list[Token]:
    """The tokens of one kind, such as "code_inline", inside the page's paragraphs, headings and tables."""
    return [child for token in tokens(page) for child in token.children or () if child.type == kind]


def codes(page: str) -> list[str]:
    """The inline code of a page."""
    return [token.content for token in inline(page, "code_inline")]


@functools.cache
def anchors(page: str) -> frozenset[str]:
    """The anchors that GitHub and the site make of the page's headings."""
    found: list[str] = []
    for before, token in zip(tokens(page), tokens(page)[1:]):
        if before.type == "heading_open":
            text = "".join(child.content for child in token.children if child.type in ("text", "code_inline"))
            name = re.sub(r"[^\w\- ]", "", text.lower()).replace(" ", "-")
            found.append(f"{name}-{found.count(name)}" if name in found else name)
    return frozenset(found)
