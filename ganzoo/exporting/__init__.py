"""Export of a run to files that draw without torch, each verified against the run."""
