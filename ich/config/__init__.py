"""The one typed description of config.yaml, a module a section; its messages; its generated reference."""
