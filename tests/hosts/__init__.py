"""Throwaway bare hosts made on this machine, so that playbooks and faults are tried on real systemd."""
