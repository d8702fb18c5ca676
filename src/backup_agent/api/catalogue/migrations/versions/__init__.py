"""One file per version, in order. A published one is never changed."""
