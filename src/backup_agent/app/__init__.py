"""Puts the parts together: configuration in, wired objects out. The only place that names implementations."""
