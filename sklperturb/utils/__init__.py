"""Shared helpers for estimators, and checks for their authors."""
