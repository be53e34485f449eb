"""One plug-in of each kind; docs/guides/extend.md explains them."""
