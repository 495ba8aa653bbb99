"""What controllers are made of: reflector, informer, work queue, reconcile loop, leader election, event recorder."""
