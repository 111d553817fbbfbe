"""Many runs: comparison, case study, synthetic data, benchmark, and who executes them."""
