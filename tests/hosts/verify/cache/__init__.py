"""The cache, where the inventory has one."""
