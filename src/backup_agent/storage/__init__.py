"""The stores that keep chunks and manifests: one interface, a file per store, a file per wrapper."""
