"""cloudeye watches websites: the API, the pages and the background process that probes.

Nothing is imported here, so that ``python -m cloudeye.sync`` loads no part of the web application.
"""
