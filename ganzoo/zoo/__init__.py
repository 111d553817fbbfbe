"""The parts of a variant: networks, losses, terms and objectives, and the recipes that combine them."""
