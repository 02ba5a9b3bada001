"""Rendering a page: the template, the style and the scripts in one file, which asks no network for anything."""

from __future__ import annotations

import base64
import hashlib
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, select_autoescape
from markupsafe import Markup

from cifar_imbalance import atomic
from cifar_imbalance.report.page.parts import Chart, Confusions, Page
from cifar_imbalance.report.plots.canvas import pair_in_words

ASSETS = Path(__file__).parent / "assets"
SCRIPTS = ("echarts.min.js", "dataTables.min.js", "page.js")


def write_page(path: Path, page: Page) -> None:
    """Write `page` to the HTML file `path`. All names, texts and paths in it are escaped."""
    environment = Environment(
        loader=FileSystemLoader(ASSETS), autoescape=select_autoescape(["html"]), trim_blocks=True, lstrip_blocks=True
    )
    data = {
        f"part{number}": _data(part) for number, part in enumerate(page.parts) if isinstance(part, Chart | Confusions)
    }
    html = environment.get_template("page.html").render(
        page=page,
        policy=policy(),
        data=Markup(_script_safe(data)),
        asset=_asset,
        scripts=SCRIPTS,
        pair_in_words=pair_in_words,
    )
    atomic.write_text(path, html)


def policy() -> str:
    """Nothing is loaded and nothing sent: our own scripts, by their hashes, the style and embedded images are all."""
    digests = (hashlib.sha256((ASSETS / name).read_bytes()).digest() for name in SCRIPTS)
    scripts = " ".join(f"'sha256-{base64.b64encode(digest).decode()}'" for digest in digests)
    return (
        f"default-src 'none'; script-src {scripts}; style-src 'unsafe-inline'; img-src data:; "
        "form-action 'none'; base-uri 'none'"
    )


def _data(part: Chart | Confusions) -> dict[str, Any]:
    return {"kind": part.kind, **({"option": part.option} if isinstance(part, Chart) else asdict(part))}


def _script_safe(data: Any) -> str:
    """JSON that cannot end the script element that it stands in."""
    text = json.dumps(data, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    for sign in "<>&\u2028\u2029":
        text = text.replace(sign, f"\\u{ord(sign):04x}")
    return text


def _asset(name: str) -> Markup:
    """A file of ours or a vendored one, as it is."""
    return Markup((ASSETS / name).read_text(encoding="utf-8"))
