"""What imports and exports ask of the store."""
