"""What pyinfra's own operations do not do; each reads one fact and sends one command."""
