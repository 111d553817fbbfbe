"""Metrics of generators: one pinned judge per data set, each metric beside its floor, and a verdict in words."""
