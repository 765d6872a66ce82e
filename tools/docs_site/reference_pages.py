"""Reference pages from the packages' ``__all__``, which is read from the sources without importing them."""

import ast
from dataclasses import dataclass
from pathlib import Path

CONFIG_PAGE = """# Config keys

`add_effowt_config` adds these keys to Detectron2's config, with these defaults. `effowt_d2/engine/key_domains.py` has the allowed
values; keys of projects are in their READMEs.

```python
--8<-- "effowt_d2/config.py"
```
"""


@dataclass(frozen=True)
class Package:
    """A package with public names.

    Attributes:
        name: dotted name.
        summary: first line of the docstring.
        exports: names in ``__all__``.
    """

    name: str
    summary: str
    exports: tuple[str, ...]

    @property
    def page(self) -> str:
        """The page's path in the site's sources."""
        return f"reference/{self.name}.md"


def find_packages(root: Path) -> list[Package]:
    """The packages below ``root`` that have public names, effowt_d2's first."""
    folders = [root, *sorted((root / "projects").iterdir())]
    found = []
    for folder in folders:
        for path in sorted(folder.glob("effowt_d2/**/__init__.py" if folder == root else "*/__init__.py")):
            package = read_package(path, ".".join(path.parent.relative_to(folder).parts))
            found += [package] if package.exports else []
    return found


def read_package(path: Path, name: str) -> Package:
    """A package from its ``__init__.py``."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    exports = [
        ast.literal_eval(node.value)
        for node in tree.body
        if isinstance(node, ast.Assign) and [getattr(target, "id", "") for target in node.targets] == ["__all__"]
    ]
    names = tuple(name for name in (exports or [[]])[0] if not name.startswith("__"))
    return Package(name, (ast.get_docstring(tree) or "").split("\n")[0], names)


def package_page(package: Package) -> str:
    """The page of one package: a directive for mkdocstrings with its public names."""
    members = "".join(f"\n        - {name}" for name in package.exports)
    return f"# {package.name}\n\n::: {package.name}\n    options:\n      members:{members}\n"


def index_page(packages: list[Package]) -> str:
    """The table of all packages and their public names."""
    rows = [f"| [`{p.name}`]({Path(p.page).name}) | {p.summary} | {_codes(p.exports)} |" for p in packages]
    table = "\n".join(["| package | content | names |", "|---|---|---|", *rows])
    return f"# Reference\n\nPublic names by package. [Config keys](config.md) have a page of their own.\n\n{table}\n"


def _codes(names: tuple[str, ...]) -> str:
    return " ".join(f"`{name}`" for name in names)
