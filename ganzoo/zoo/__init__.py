"""What a variant is made of: networks, losses, terms, objectives, and the recipes that name them."""
