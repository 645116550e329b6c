"""Where events flow: exchanges in this process, or on a broker beside it."""
