"""People at the customer and the seats they hold."""
