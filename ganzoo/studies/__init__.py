"""Many runs: comparison, case study, augmentation, benchmark, and who executes them."""
