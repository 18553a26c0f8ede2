"""Runs measured, and side by side: a report, a comparison, a rated corpus, a prior's holes."""
