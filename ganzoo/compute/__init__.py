"""Where, how precisely and by how many processes a run is computed."""
