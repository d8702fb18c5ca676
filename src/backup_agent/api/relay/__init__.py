"""What goes on between the catalogue and the broker, in one process per host: commands out, events in, silence noticed.

Several hosts may each run one: what is sent twice is carried out once, and what is heard twice is written once.
"""
