"""What a lab looks like: isolation, nodes and fabric, backends, and what must reach what."""
