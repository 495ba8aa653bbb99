"""What a user may do: RBAC, the Node authorizer, and the reviews that ask them."""
