"""The control plane at scale: a fleet of simulated agents, a full catalogue, and users who ask meanwhile."""
