"""A comparison as one HTML file that needs no network."""

from sklperturb.report._write import write_html

__all__ = ["write_html"]
