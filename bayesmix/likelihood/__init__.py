"""The mixture likelihood: as a formula, and as a fused pass over the data."""
