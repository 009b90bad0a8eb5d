"""Mixture density networks: mixtures whose weights and parameters are outputs of a network."""
