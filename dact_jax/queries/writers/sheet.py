"""index.html: the images of a query on one page, with nothing outside the file."""

import base64
import html
import io

from dact_jax import errors
from dact_jax.data import threads
from dact_jax.data.readers import decoding
from dact_jax.queries import names
from dact_jax.queries.query import Item, Query

_LARGE, _SMALL = 256, 96  # longest side of a thumbnail, in pixels
_MANY = 2000  # images from which on thumbnails are small, so that a page can be opened
_QUALITY = 82  # of JPEG

_STYLE = """
:root { color-scheme: light dark; --ink: #1b1b1f; --soft: #5c5f66; --page: #f4f4f6;
  --card: #fff; --line: #d5d7dc; --mark: #0b57d0; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e8e8ea; --soft: #a4a7ae; --page: #131316; --card: #1e1f23;
    --line: #3a3c42; --mark: #a8c7fa; } }
* { box-sizing: border-box; }
body { margin: 0; padding: 1.25rem; background: var(--page); color: var(--ink);
  font: 15px/1.4 system-ui, sans-serif; }
header { max-width: 60rem; margin-bottom: 1.25rem; }
h1 { font-size: 1.3rem; margin: 0 0 .4rem; }
header p { margin: .3rem 0; color: var(--soft); }
ol { list-style: none; margin: 0; padding: 0; display: grid; gap: .8rem;
  grid-template-columns: repeat(auto-fill, minmax(min(10.5rem, 100%), 1fr)); }
li { background: var(--card); border: 1px solid var(--line); border-radius: .5rem;
  overflow: hidden; display: flex; flex-direction: column; break-inside: avoid; }
.picture { aspect-ratio: 1; position: relative; background: var(--page); }
.picture > * { position: absolute; inset: 0; width: 100%; height: 100%; margin: 0; }
.picture img { object-fit: contain; }
.picture p { padding: .6rem; font-size: .8rem; color: var(--soft);
  overflow: hidden; overflow-wrap: anywhere; align-content: center; }
.words { padding: .5rem .6rem .6rem; }
.words p { margin: 0; overflow-wrap: anywhere; }
.class { font-weight: 600; }
.class span, .file, .score { font-size: .8rem; color: var(--soft); font-weight: 400; }
.class .order { color: var(--mark); font-weight: 600; margin-right: .35rem; }
@media (max-width: 30rem) {
  body { padding: .75rem; }
  ol { grid-template-columns: repeat(2, minmax(0, 1fr)); gap: .5rem; } }
@media print {
  :root { color-scheme: light; --ink: #000; --soft: #333; --page: #fff;
    --card: #fff; --line: #999; --mark: #000; }
  body { padding: 0; font-size: 10pt; }
  ol { grid-template-columns: repeat(5, minmax(0, 1fr)); gap: 3mm; } }
"""
# No script, and nothing from elsewhere: names of files cannot make the page do more.
_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"


def text(query: Query, image_root: str) -> str:
    """The page; an image that cannot be read is a box with the reason."""
    del image_root
    side = _SMALL if len(query.items) > _MANY else _LARGE
    pictures = threads.map_in_order(lambda item: _picture(item, side), query.items)
    entries = [
        _entry(order, item, picture)
        for order, (item, picture) in enumerate(zip(query.items, pictures, strict=True))
    ]
    title = f"{_count(len(query.items))} to label, round {query.round}"
    return "\n".join(
        [
            "<!DOCTYPE html>",
            '<html lang="en">',
            '<meta charset="utf-8">',
            f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<title>{title}</title>",
            f"<style>{_STYLE}</style>",
            f"<header><h1>{title}</h1>",
            f"<p>Classes: {_classes(query)}</p>",
            "<p>Write the class of each image into the column <b>label</b> of "
            "labels.csv, or an x into <b>skip</b>; the numbers here are its column "
            "<b>order</b>.</p></header>",
            "<main><ol>",
            *entries,
            "</ol></main>",
            "</html>\n",
        ]
    )


def _entry(order: int, item: Item, picture: str) -> str:
    name = _shown(item.file_name)
    suggested = f"<bdi>{_shown(item.suggested)}</bdi>" if item.suggested else ""
    sure = "" if item.confidence is None else f" <span>{item.confidence:.0%}</span>"
    score = "" if item.score is None else f'<p class="score">score {item.score:.4g}</p>'
    inside = f'<div class="picture">{picture}</div>' if picture else ""
    return (
        f'<li>{inside}<div class="words"><p class="class"><span class="order">{order}'
        f'</span>{suggested}{sure}</p>{score}<p class="file"><bdi>{name}</bdi></p>'
        "</div></li>"
    )


def _picture(item: Item, side: int) -> str:
    """The thumbnail or the reason why there is none; "" for a vector without a file."""
    if not item.path:
        return ""
    try:
        thumbnail = decoding.thumbnail(item.path, side)
    except errors.InputError as error:
        reason = str(error).removeprefix(f"{errors.printable(item.path)} is ")
        return f"<p>{_shown(reason)}</p>"
    out = io.BytesIO()
    thumbnail.save(out, "JPEG", quality=_QUALITY, optimize=True)
    data = base64.b64encode(out.getvalue()).decode("ascii")
    width, height = thumbnail.size
    return (
        f'<img alt="{_shown(item.file_name)}" width="{width}" height="{height}" '
        f'src="data:image/jpeg;base64,{data}">'
    )


def _classes(query: Query) -> str:
    return ", ".join(f"<bdi>{_shown(name)}</bdi>" for name in query.class_names)


def _count(number: int) -> str:
    return "1 image" if number == 1 else f"{number} images"


def _shown(name: str) -> str:
    return html.escape(names.writable(name))
