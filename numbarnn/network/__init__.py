"""Networks: layers, parameters and the passes through them; single steps and streams."""
