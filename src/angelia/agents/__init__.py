"""How deliveries leave: one medium a room, strangers to each other."""
