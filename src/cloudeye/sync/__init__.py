"""The background process: it claims sites that are due, probes them and writes down what it found."""
