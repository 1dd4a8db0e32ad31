"""The HTTP calls between the roles."""
