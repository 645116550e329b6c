"""What jobs run on, one room each: functions, commands, HTTP services; echo and a skeleton to copy."""
