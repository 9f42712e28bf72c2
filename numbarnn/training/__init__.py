"""Training: steps, epochs, checkpoints, histories."""
