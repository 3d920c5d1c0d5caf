"""Formulas as MathML, which a browser draws without a program or a network."""

from docutils import nodes
from latex2mathml.converter import convert
from sphinx.util import logging

logger = logging.getLogger(__name__)


def visit(translator, node):
    """Write a formula in a line, or one that stands alone."""
    as_block = isinstance(node, nodes.math_block)
    made = convert(node.astext(), display="block" if as_block else "inline")
    if "\\" in made:  # with --fail-on-warning the build fails
        logger.warning("a command of %s is not known", node.astext(), location=node)
    translator.body.append(f'<div class="math">{made}</div>' if as_block else made)
    raise nodes.SkipNode


def setup(app):
    app.add_html_math_renderer("mathml", (visit, None), (visit, None))
    return {"parallel_read_safe": True, "parallel_write_safe": True}
