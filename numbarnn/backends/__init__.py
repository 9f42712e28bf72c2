"""What computes: one backend for each device, with the same files, functions and signatures (`device` chooses)."""
