"""Hosts with nginx: app hosts and the balancer."""
