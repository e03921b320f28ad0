"""What tells how a customer is doing: signals and usage."""
