"""The HTTP sides of the roles: one WSGI server a port, thin resources, problems per RFC 9457."""
