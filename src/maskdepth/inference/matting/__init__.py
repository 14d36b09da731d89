"""Alpha along outlines, from the picture and its plate."""
