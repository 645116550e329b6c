"""The nouns of the house: frozen values, enums and state tables; standard library only."""
