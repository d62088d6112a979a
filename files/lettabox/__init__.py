"""What runs on the box: the verbs that cron, systemd, make and an operator all call."""
