"""The routes, one file per resource. They know HTTP and the catalogue, not the broker."""
