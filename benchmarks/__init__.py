"""Measurements of sklperturb, side by side with other packages.

``python -m benchmarks --list`` names them, and README.md says how they are run and how
a script becomes one of them.
"""
