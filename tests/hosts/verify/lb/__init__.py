"""What a balancer in front of app hosts must do, and they must not."""
