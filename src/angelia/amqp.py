"""One connection to an AMQP broker, as the rooms that speak AMQP share it."""
