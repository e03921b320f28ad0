"""People at the customer: contacts, sponsors, champions."""
