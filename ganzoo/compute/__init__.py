"""Device, precision, threads and processes of a run."""
