"""What a deployed fleet must be: run by `ansible-playbook verify.yml`, over any inventory and any layout."""
