"""The facts of accounts, in SQL, and conditions over them."""
