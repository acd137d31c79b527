"""The version of the package and of the extension."""

VERSION = "0.1.0"
