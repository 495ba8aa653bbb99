"""Passing requests on: to node agents, pods and Services."""
