"""The preflight's checks: functions of what is known of a host that yield findings and change nothing."""
