"""Figures that can be trusted: one pinned judge a data set, every figure beside its floor, a verdict in words."""
