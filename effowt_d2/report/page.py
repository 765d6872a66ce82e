"""The page itself: template, style and scripts from the package's files, data and frames streamed in between."""

import base64
import html
import json
from collections.abc import Iterable
from pathlib import Path
from string import Template
from typing import BinaryIO

__all__ = ["to_json", "write_page"]

ASSETS = Path(__file__).parent / "assets"
SCRIPTS = ("dom.js", "overlay.js", "player.js", "timeline.js", "table.js", "panels.js", "main.js")
_MARK = "<!-- data -->"
# of three bytes each: only the last piece is filled up
_PIECE = 3 << 20


def to_json(value: object) -> str:
    """JSON that can stand inside a ``<script>`` element, whatever text it holds: pure ASCII without ``<``.

    Raises:
        ValueError: a number is not finite.
    """
    return json.dumps(value, allow_nan=False, separators=(",", ":")).replace("<", "\\u003c")


def write_page(file: BinaryIO, title: str, data: dict, records: Iterable[tuple[str, bytes]], film: bytes) -> None:
    """Write a page.

    Args:
        file: where to.
        title: any text.
        data: what the scripts show; they read it from the element with the id "data".
        records: (kind, JSON of :func:`to_json`) of every "frame" and "track", each put into an element of that class,
            so that they never are in memory together.
        film: the frames as an mp4, put as base64 into the element with the id "film".

    Raises:
        OSError: it can't be written.
    """
    texts = {name: (ASSETS / name).read_text(encoding="utf-8") for name in ("page.html", "page.css", *SCRIPTS)}
    page = Template(texts["page.html"]).substitute(
        # half a surrogate pair, as undecodable file names hold, has no place in UTF-8
        title=html.escape(title.encode("utf-8", "replace").decode()),
        style=texts["page.css"],
        script="\n".join(texts[name] for name in SCRIPTS),
    )
    head, _, tail = page.partition(_MARK)
    file.write(head.encode())
    for kind, record in records:
        file.write(f'<script type="application/json" class="{kind}">'.encode() + record + b"</script>\n")
    file.write(b'<script type="text/plain" id="film">')
    for start in range(0, len(film), _PIECE):
        file.write(base64.b64encode(film[start : start + _PIECE]))
    file.write(b"</script>\n")
    file.write(b'<script type="application/json" id="data">' + to_json(data).encode() + b"</script>\n")
    file.write(tail.encode())
