"""Figures, and the weekly report."""
