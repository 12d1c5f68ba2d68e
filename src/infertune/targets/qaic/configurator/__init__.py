"""The vendor's model configurator, command for command, on infertune's own machinery."""
