"""How usable a site is: uptime, latency and incidents, by what its probes left behind. For the API, pages and sync."""
