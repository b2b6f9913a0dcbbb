"""Give it an image; get the most similar images of your library, beside it, with how similar they are."""
