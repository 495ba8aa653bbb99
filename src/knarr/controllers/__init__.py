"""The built-in controllers, one a module; `roster` lists them."""
