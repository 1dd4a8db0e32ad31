"""Authentication and authorization: users, tokens, permissions, revocation, and the audit trail."""
