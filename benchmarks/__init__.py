"""Proofs on real data and comparisons with other tools; results lie in results/."""
