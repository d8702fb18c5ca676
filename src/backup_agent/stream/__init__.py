"""From bytes to chunks and back: cut, seal, upload; download, unseal, verify."""
