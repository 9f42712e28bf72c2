"""Graphs to models: `graph` walks the nodes, `operators` says what reads each, `state` keeps what is known between them."""
