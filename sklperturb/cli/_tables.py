"""Tables on the screen, and files in a folder."""

import json

from rich.table import Table

from sklperturb.cli._app import out


def make_table(left, right):
    """Return an empty table with columns of text and columns of numbers."""
    table = Table(box=None, pad_edge=False)
    for name in left:
        table.add_column(name, no_wrap=True)
    for name in right:
        table.add_column(name, justify="right", no_wrap=True)
    return table


def write(path, writer, **options):
    """Write a file whole, by ``writer(path, **options)``, and print its name."""
    from sklperturb.files._writing import written_whole

    with written_whole(path) as unfinished:
        writer(unfinished, **options)
    out.print(str(path))


def write_json(path, content):
    text = json.dumps(content, indent=2) + "\n"
    write(path, lambda file: file.write_text(text, encoding="utf-8"))
