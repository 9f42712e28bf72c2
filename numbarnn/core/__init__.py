"""What everything uses: shapes and geometry of batches, parameters, ragged arrays, label sequences. No kernels."""
