"""Data sets with known latent factors, and what turns rows into batches."""
