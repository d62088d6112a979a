"""What pyinfra's own facts do not see; each fact is one command on the host."""
