"""How the bundled model `mini` is made. Not part of the package; see README.md here."""
