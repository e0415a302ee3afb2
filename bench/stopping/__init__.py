"""What `python -m bench.time_to_stop` is made of: hosts and users as processes, the same nodes in virtual time, figures."""
