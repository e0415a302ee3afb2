"""The real clock, the real entropy, the real store and the keys on disk: the one home of time, secrets and files.

May import: protocol, whose ports it implements. Imported only by cli and by tests: every other room is handed what it
needs, which is why a whole network runs in virtual time.

=====================  =======================================================================
`clock`, `entropy`     the machine's time and randomness
`home`                 the folder where one node keeps all that is its own
`store`                small durable state, in SQLite
`files`                files that are either whole or not there
`open_files`           how many of them may be open
`keys`, `recovery`     encrypted keys, and the 24 words that bring them back
`shares`, `journal`    a keyholder's shares, and the orders it signed
=====================  =======================================================================
"""
