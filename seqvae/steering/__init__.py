"""Attributes moved through the space of codes: vectors learnt, applied, and put to the test.

In layers: where attributes lie, which of many ways to write an item is the one asked for, whole
items and songs written again, and what else that changes.
"""
