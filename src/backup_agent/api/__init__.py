"""The control plane: the Trove backups API in front of the agents. Needs the extra `[api]`; the agent never imports it.

One sentence to check against `ls`: *a request passes the gate (who asks, how often); a route reads or changes the
catalogue; the relay takes commands from the catalogue's outbox to the broker, and what agents tell into the catalogue.*
"""
