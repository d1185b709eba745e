"""Every host of the inventory."""
