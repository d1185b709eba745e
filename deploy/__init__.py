"""The bundle: what turns deploy/stack.yml into a running stack, in a checkout and on a host."""
