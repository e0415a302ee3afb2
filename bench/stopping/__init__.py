"""What `python -m bench.time_to_stop` is made of: hosts and users, nodes in virtual time, figures."""
