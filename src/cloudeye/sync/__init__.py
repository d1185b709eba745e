"""The background process: it probes sites that are due, sends mail, and deletes what is too old."""
