"""Models to graphs: `graph` writes the nodes of a model, `layers`, `recurrent` and `lengths` what each layer becomes."""
