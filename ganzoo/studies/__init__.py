"""Studies of many runs: comparison, case study, synthetic data, benchmark, and the executors of their jobs."""
