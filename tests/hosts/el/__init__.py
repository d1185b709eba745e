"""Hosts that have the shape of an Enterprise Linux, as far as Debian's packages can give it.

`packages.yml` lists what is installable there, `files/` holds what EL's packages bring and Debian's do not,
`repository` builds the RPMs and `shape` turns a Debian root into an EL-shaped one. What stays unlike the real
thing is listed in docs/test-hosts.md.
"""
