"""Look for links of the built site that lead nowhere, and for what it would load.

`make docs` runs it after the build: python docs/_links.py docs/_build/html
"""

import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

LOADED = {"link": "href", "script": "src", "img": "src", "iframe": "src"}
# What sphinx-gallery shows where an example draws nothing, or does not run.
PLACEHOLDERS = ("no_image.png", "broken_example.png")


class Page(HTMLParser):
    """The names that a page has, where it links to, and what it loads."""

    def __init__(self, path):
        super().__init__()
        self.names, self.links, self.loaded = set(), set(), set()
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        self.names.update(
            attributes[key] for key in ("id", "name") if key in attributes
        )
        if tag == "a" and attributes.get("href"):
            self.links.add(attributes["href"])
        if tag in LOADED and attributes.get(LOADED[tag]):
            self.loaded.add(attributes[LOADED[tag]])


def check(site):
    """Return what is wrong with a site, a line each, and how many pages it has."""
    paths = sorted(site.rglob("*.html"))
    # Of the theme's own files one is a template.
    pages = {p: Page(p) for p in paths if p.relative_to(site).parts[0] != "_static"}
    wrong = []
    for path, page in pages.items():
        for link in sorted(page.links | page.loaded):
            url = urlsplit(link)
            if url.scheme or url.netloc:
                if link in page.loaded and url.scheme != "data":
                    wrong.append(f"{path.relative_to(site)} loads {link}")
                continue
            target = (path.parent / unquote(url.path)).resolve() if url.path else path
            known = pages.get(target)
            if not target.exists():
                wrong.append(f"{path.relative_to(site)}: no file {link}")
            elif url.fragment and known and unquote(url.fragment) not in known.names:
                wrong.append(f"{path.relative_to(site)}: no heading {link}")
            if link in page.loaded and target.name in PLACEHOLDERS:
                wrong.append(f"{path.relative_to(site)} shows {target.name}")
    return wrong, len(pages)


if __name__ == "__main__":
    wrong, n_pages = check(Path(sys.argv[1]).resolve())
    print(*wrong, sep="\n", end="\n" if wrong else "")
    print(f"{n_pages} pages, {len(wrong)} links that lead nowhere")
    sys.exit(bool(wrong))
