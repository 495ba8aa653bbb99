"""Subresources and virtual resources with a behaviour of their own."""
