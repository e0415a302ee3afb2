"""The real clock, the real entropy, the real store and the keys on disk: the one home of time, secrets and files.

May import: protocol, whose ports it implements. Imported by cli and by tests only: every other room is handed what it
needs, which is why a whole network runs in virtual time.
"""
