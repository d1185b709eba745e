"""What more than one front door calls, and what touches the outside world. Nothing here commits."""
